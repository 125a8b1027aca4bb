"""ActNorm: started from data, once, and the flag that says so travels."""

import copy
import pickle

import jax
import numpy as np
import numpyro
import pyro
import pytest
import torch

import numpyro_flowkit
import pyro_flowkit
from flowkit_core import recipes as r
from tests.cases import arrays_for
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])

D = 3
DEEP = r.compose(
    r.act_norm(D),
    r.realnvp(D, num_layers=2, hidden_dims=(6,), context_dim=2),
    r.compose(r.act_norm(D), r.lu_linear(D)),
)


def rows(*shape, dtype=np.float64):
    rng = np.random.default_rng(5)
    return (1000 * rng.normal(size=D) + rng.normal(size=(*shape, D)) * [0.01, 1, 100]).astype(dtype)


def start(wing, flow, x, context=None):
    return wing.package.start_from_data(flow, wing.array(x), wing.array(context))


def fresh(wing, spec, dtype=np.float64):
    return wing.build(spec, {a.name: np.zeros(a.shape, dtype) for a in spec.arrays()})


@every_wing
@both_dtypes
@pytest.mark.parametrize("shape", [(40,), (4, 2, 5)], ids=str)
def test_the_first_batch_is_standardised_on_the_base_side(wing, dtype, shape):
    x = rows(*shape, dtype=dtype)
    flow = start(wing, fresh(wing, r.act_norm(D), dtype), x)
    z, log_det = wing.call(flow, "inverse_and_log_det", x, None)
    z = z.reshape(-1, D)
    # What the last digit of x, around 1000, decides of a coordinate of standard deviation 0.01.
    tolerance = 2 * np.finfo(dtype).eps * 1000 / 0.01
    np.testing.assert_allclose(z.mean(0), 0, atol=tolerance)
    np.testing.assert_allclose(z.std(0), 1, atol=tolerance)
    expected = -np.log(x.reshape(-1, D).astype(np.float64).std(0)).sum()
    np.testing.assert_allclose(log_det, expected, rtol=1e3 * np.finfo(dtype).eps)


def test_every_layer_inside_is_started_by_what_reaches_it_and_alike_in_both_wings():
    arrays, x = arrays_for(DEEP), rows(50)
    context = np.random.default_rng(6).normal(size=(50, 2))
    flows = {n: start(w, w.build(DEEP, arrays), x, context) for n, w in WINGS.items()}
    named = {name: WINGS[name].named_arrays(flow) for name, flow in flows.items()}
    for name, array in named["pyro"].items():
        np.testing.assert_allclose(named["numpyro"][name], array, rtol=1e-9, atol=1e-9)
        changed = not np.array_equal(array, arrays[name])
        assert changed == (name.endswith(("layers.0.log_scale", "layers.0.shift"))), name
    # The inner one sees L U z + b undone; the outer one stands next to the base.
    inner = flows["pyro"].layers[2].layers
    seen = inner[0].inv(inner[1].inv(torch.from_numpy(x))).detach().numpy()
    z, _ = WINGS["pyro"].call(flows["pyro"], "inverse_and_log_det", x, context)
    for values in (seen, z):
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-7)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-7)


@every_wing
@pytest.mark.parametrize("method", ["forward_and_log_det", "inverse_and_log_det"])
@pytest.mark.parametrize("spec", [r.act_norm(D), r.compose(r.lu_linear(D), r.act_norm(D))], ids=str)
def test_nothing_is_computed_before_the_first_batch(wing, spec, method):
    flow = fresh(wing, spec)
    assert flow.awaits_data
    assert flow.takes_statistics
    message = r"before its first batch; call start_from_data\(flow, x\).*started=True"
    with pytest.raises(ValueError, match=message):
        wing.call(flow, method, rows(4), None)
    x = wing.array(rows(4))
    for use in (lambda: flow(x), lambda: flow.forward_and_score(x, x)):
        with pytest.raises(ValueError, match=message):
            use()
    with pytest.raises(ValueError, match=message):
        wing.package.FlowDistribution(flow).log_prob(x)


@every_wing
@both_dtypes
def test_constant_coordinates_keep_their_scale(wing, dtype):
    x = rows(20, dtype=dtype)
    x[:, 0] = 0.1  # which float32 sums with rounding
    x[:, 2] = 0
    flow = start(wing, fresh(wing, r.act_norm(D), dtype), x)
    log_scale = wing.named_arrays(flow)["log_scale"]
    assert log_scale[0] == log_scale[2] == 0
    assert log_scale[1] != 0
    z, log_det = wing.call(flow, "inverse_and_log_det", x, None)
    assert np.isfinite(z).all()
    assert np.isfinite(log_det).all()


@every_wing
@pytest.mark.parametrize("shape", [(1,), ()], ids=str)
def test_a_batch_of_one_row_only_shifts(wing, shape):
    x = rows(*shape)
    flow = start(wing, fresh(wing, r.act_norm(D)), x)
    z, log_det = wing.call(flow, "inverse_and_log_det", x, None)
    np.testing.assert_array_equal(z, np.zeros_like(x))
    np.testing.assert_array_equal(log_det, np.zeros(shape))


@every_wing
@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_squares_neither_vanish_nor_overflow(wing, unit):
    x = (np.random.default_rng(0).normal(size=(30, D)) * unit).astype(np.float32)
    flow = start(wing, fresh(wing, r.act_norm(D), np.float32), x)
    z, _ = wing.call(flow, "inverse_and_log_det", x, None)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-5)


@every_wing
def test_a_layer_that_has_started_stays_as_it_is(wing):
    spec = r.act_norm(D, started=True)
    arrays = arrays_for(spec)
    flow = start(wing, wing.build(spec, arrays), rows(9))
    for name, array in wing.named_arrays(flow).items():
        np.testing.assert_array_equal(array, arrays[name])


@every_wing
def test_the_flag_is_saved_loaded_copied_and_pickled(wing, tmp_path):
    spec = r.compose(r.act_norm(D), r.lu_linear(D))
    x = rows(12)
    waiting = fresh(wing, spec)
    flow = start(wing, fresh(wing, spec), x)
    expected = wing.call(flow, "inverse_and_log_det", x, None)
    for other in WINGS.values():
        for saved, path in ((waiting, tmp_path / "waiting"), (flow, tmp_path / "started")):
            wing.package.save_flow(saved, path)
            assert other.package.load_flow(path).awaits_data == saved.awaits_data
        loaded = other.package.load_flow(tmp_path / "started")
        got = other.call(loaded, "inverse_and_log_det", x, None)
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-10, atol=1e-10)
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        np.testing.assert_array_equal(
            wing.call(twin, "inverse_and_log_det", x, None)[0], expected[0]
        )
    for twin in (copy.deepcopy(waiting), pickle.loads(pickle.dumps(waiting))):
        assert twin.awaits_data
        assert not start(wing, twin, x).awaits_data
    assert waiting.awaits_data


def test_the_flag_is_in_the_state_dict_of_pyro():
    spec = r.compose(r.act_norm(D), r.lu_linear(D))
    flow, other = (fresh(WINGS["pyro"], spec) for _ in range(2))
    x = torch.from_numpy(rows(12))
    state = pyro_flowkit.start_from_data(flow, x).state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    other.load_state_dict(state)
    assert not other.awaits_data
    assert other.spec == flow.spec
    torch.testing.assert_close(other.inv(x), flow.inv(x))


def test_pyro_starts_in_place_what_the_store_holds():
    flow = fresh(WINGS["pyro"], r.act_norm(D))
    pyro.module("flow", flow)
    assert pyro_flowkit.start_from_data(flow, torch.from_numpy(rows(8))) is flow
    assert pyro.param("flow$$$shift") is flow.shift
    assert flow.shift.abs().min() > 0


def test_numpyro_starts_a_copy_whose_flag_is_static():
    waiting = fresh(WINGS["numpyro"], r.compose(r.lu_linear(D), r.act_norm(D)))
    x = rows(8)
    flow = numpyro_flowkit.start_from_data(waiting, x)
    assert waiting.awaits_data
    assert waiting != flow
    doubled = jax.tree.map(lambda leaf: 2 * leaf, flow)
    assert not doubled.awaits_data
    under_jit = jax.jit(numpyro_flowkit.start_from_data)(waiting, x)
    assert jax.tree.structure(under_jit) == jax.tree.structure(flow)
    for one, two in zip(jax.tree.leaves(under_jit), jax.tree.leaves(flow), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)
    gradient = jax.grad(lambda flow: flow.inverse_and_log_det(x)[0].sum())(flow)
    assert jax.tree.structure(gradient) == jax.tree.structure(flow)
    with numpyro.handlers.seed(rng_seed=0):
        assert not numpyro.param("flow", lambda _: flow).awaits_data


def test_numpyro_starts_each_flow_of_a_batch():
    init = numpyro_flowkit.compose(numpyro_flowkit.lu_linear(D), numpyro_flowkit.act_norm(D))
    flows = jax.vmap(init)(jax.random.split(jax.random.key(0), 2))
    with pytest.raises(ValueError, match=r"single flow, got a batch of shape \(2,\); jax.vmap"):
        numpyro_flowkit.start_from_data(flows, rows(7))
    started = jax.vmap(numpyro_flowkit.start_from_data, (0, None))(flows, rows(7))
    assert started.batch_shape == (2,)
    assert not started.awaits_data


def test_fit_density_starts_from_the_first_minibatch_alike_in_both_wings():
    spec = r.compose(r.realnvp(D, num_layers=2, hidden_dims=(6,)), r.act_norm(D))
    drawn = WINGS["pyro"].named_arrays(WINGS["pyro"].fresh(spec))
    x = 5 + np.random.default_rng(7).normal(size=(90, D)) * [0.1, 1, 10]
    settings = {"num_epochs": 3, "batch_size": 16, "learning_rate": 1e-2, "progress": False}
    fits = {
        name: wing.package.fit_density(wing.build(spec, drawn), x, **settings)
        for name, wing in WINGS.items()
    }
    losses = [fit.train_losses + fit.validation_losses for fit in fits.values()]
    np.testing.assert_allclose(*losses, rtol=1e-9)
    # Near the entropy of independent Normals with those scales, whose product is 1, at once.
    assert max(losses[0]) < 0.5 * D * np.log(2 * np.pi * np.e) + 1
    assert not any(fit.flow.awaits_data for fit in fits.values())


@every_wing
def test_batches_that_tell_nothing_are_refused(wing):
    flow = fresh(wing, r.act_norm(D))
    with pytest.raises(ValueError, match=r"at least one row to start from, got shape \(0, 3\)"):
        start(wing, flow, rows(0))
    bad = rows(4)
    bad[2, 1] = np.nan
    with pytest.raises(ValueError, match="x: expected finite numbers, got NaN or inf"):
        start(wing, flow, bad)
    with pytest.raises(ValueError, match=r"x: expected shape \(..., 3\), got \(4, 2\)"):
        start(wing, flow, rows(4)[:, :2])
    with pytest.raises(TypeError, match="flow: expected a Flow, got ndarray"):
        start(wing, rows(2), rows(4))
    assert flow.awaits_data
