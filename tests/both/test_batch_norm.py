"""BatchNorm: statistics of the batch in training, running averages everywhere else."""

import jax
import numpy as np
import pytest
import torch

import numpyro_flowkit
from flowkit_core import recipes as r
from tests.cases import arrays_for
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())

D = 3
NORM = r.batch_norm(D, momentum=0.25, eps=1e-3)
DEEP = r.compose(
    r.batch_norm(D),
    r.realnvp(D, num_layers=2, hidden_dims=(6,), context_dim=2),
    r.batch_norm(D),
    r.triangular_linear(D),
)


def rows(*shape, seed=5):
    rng = np.random.default_rng(seed)
    return 2 + rng.normal(size=(*shape, D)) * [0.5, 1, 3]


def fresh(wing, spec):
    return wing.build(spec, {a.name: np.zeros(a.shape) for a in spec.arrays()})


def trained_inverse(wing, flow, x, context=None):
    """z, log-determinant and the flow that has seen x."""
    z, log_det, seen = wing.package.inverse_with_batch_statistics(
        flow, wing.array(x), wing.array(context)
    )
    return wing.numpy(z), wing.numpy(log_det), seen


@every_wing
@pytest.mark.parametrize("shape", [(20,), (4, 1, 5)], ids=str)
def test_training_normalises_by_the_batch_and_averages_its_statistics(wing, shape):
    arrays = arrays_for(NORM)
    x = rows(*shape)
    flat = x.reshape(-1, D)
    mean, variance = flat.mean(0), flat.var(0) + 1e-3
    z, log_det, seen = trained_inverse(wing, wing.build(NORM, arrays), x)
    scale = np.exp(arrays["log_scale"])
    expected = ((x - mean) / np.sqrt(variance) - arrays["shift"]) / scale
    np.testing.assert_allclose(z, expected, rtol=1e-12, atol=1e-12)
    assert log_det.shape == shape
    np.testing.assert_allclose(log_det, -np.log(scale * np.sqrt(variance)).sum(), rtol=1e-12)
    named = wing.named_arrays(seen)
    np.testing.assert_allclose(named["mean"], 0.75 * arrays["mean"] + 0.25 * mean, rtol=1e-12)
    np.testing.assert_allclose(
        np.exp(named["log_variance"]),
        0.75 * np.exp(arrays["log_variance"]) + 0.25 * variance,
        rtol=1e-12,
    )
    for name in ("log_scale", "shift"):
        np.testing.assert_array_equal(named[name], arrays[name])


@every_wing
def test_a_flow_itself_always_evaluates(wing):
    """A point's density does not depend on its neighbours, and evaluation changes nothing."""
    arrays, x = arrays_for(NORM), rows(6)
    flow = wing.build(NORM, arrays)
    if wing.name == "pyro":
        assert flow.training
    together, _ = wing.call(flow, "inverse_and_log_det", x, None)
    alone, _ = wing.call(flow, "inverse_and_log_det", x[:1], None)
    np.testing.assert_allclose(alone, together[:1], rtol=1e-14)
    scale = np.exp(arrays["log_variance"] / 2)
    expected = ((x - arrays["mean"]) / scale - arrays["shift"]) / np.exp(arrays["log_scale"])
    np.testing.assert_allclose(together, expected, rtol=1e-12)
    for name, array in wing.named_arrays(flow).items():
        np.testing.assert_array_equal(array, arrays[name])


@every_wing
def test_gradients_go_through_the_statistics_of_the_batch(wing):
    arrays, x = arrays_for(NORM), rows(4)
    weight = np.random.default_rng(1).normal(size=x.shape)

    def loss(points):
        flow = wing.build(NORM, arrays)
        z, log_det, _ = wing.package.inverse_with_batch_statistics(flow, points)
        return (wing.array(weight) * z).sum() + 3 * log_det.sum()

    if wing.name == "pyro":
        leaf = torch.from_numpy(x).requires_grad_()
        gradient = torch.autograd.grad(loss(leaf), leaf)[0].numpy()
    else:
        gradient = np.asarray(jax.grad(loss)(x))

    def value(points):
        return float(wing.numpy(loss(wing.array(points))))

    step = 1e-6
    for index in np.ndindex(x.shape):
        change = np.zeros_like(x)
        change[index] = step
        difference = (value(x + change) - value(x - change)) / (2 * step)
        assert abs(gradient[index] - difference) < 1e-6


@every_wing
def test_statistics_of_a_data_set_replace_the_averages_layer_by_layer(wing):
    x, context = rows(40), np.random.default_rng(2).normal(size=(40, 2))
    arrays = arrays_for(DEEP)
    arrays |= {name: 0 * a for name, a in arrays.items() if "layers.2." in name}
    arrays |= {f"layers.0.{name}": np.zeros(D) for name in ("log_scale", "shift")}
    flow = wing.build(DEEP, arrays)
    flow = wing.package.set_batch_statistics(flow, wing.array(x), wing.array(context))
    z, _ = wing.call(flow, "inverse_and_log_det", x, context)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-3)  # up to eps
    # The batch itself then gives the same.
    again, _, _ = trained_inverse(wing, flow, x, context)
    np.testing.assert_allclose(again, z, rtol=1e-10, atol=1e-10)


@every_wing
def test_statistics_that_are_not_finite_are_not_taken(wing):
    arrays, x = arrays_for(NORM), rows(6)
    x[3, 1] = np.inf
    with np.errstate(invalid="ignore"):
        _, _, seen = trained_inverse(wing, wing.build(NORM, arrays), x)
    for name, array in wing.named_arrays(seen).items():
        np.testing.assert_array_equal(array, arrays[name])


@every_wing
def test_batches_without_a_variance_are_refused(wing):
    flow = fresh(wing, NORM)
    message = "BatchNorm: expected a batch of at least two rows, got 1"
    with pytest.raises(ValueError, match=message):
        trained_inverse(wing, flow, rows(1))
    with pytest.raises(ValueError, match=message):
        wing.package.set_batch_statistics(flow, wing.array(rows(1, 1)))
    waiting = fresh(wing, r.compose(r.batch_norm(D), r.act_norm(D)))
    with pytest.raises(ValueError, match="an ActNorm inside awaits its first batch; call start_"):
        wing.package.set_batch_statistics(waiting, wing.array(rows(9)))
    with pytest.raises(ValueError, match="ActNorm: used before its first batch"):
        trained_inverse(wing, waiting, rows(9))


@every_wing
def test_starting_from_data_sets_both_kinds(wing):
    flow = fresh(wing, r.compose(r.act_norm(D), r.batch_norm(D)))
    x = rows(30)
    flow = wing.package.start_from_data(flow, wing.array(x))
    z, _ = wing.call(flow, "inverse_and_log_det", x, None)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-9)
    np.testing.assert_allclose(wing.named_arrays(flow)["layers.1.mean"], x.mean(0), rtol=1e-12)


def test_numpyro_leaves_the_old_flow_as_it_was():
    wing = WINGS["numpyro"]
    flow, x = fresh(wing, NORM), rows(9)

    @jax.jit
    def loss(flow):
        z, log_det, seen = numpyro_flowkit.inverse_with_batch_statistics(flow, x)
        return (z**2).sum() - log_det.sum(), seen

    gradient, seen = jax.grad(loss, has_aux=True)(flow)
    assert jax.tree.structure(seen) == jax.tree.structure(flow)
    assert not np.asarray(flow.mean).any()
    assert np.abs(seen.mean).min() > 0
    assert not np.asarray(gradient.mean).any()
    assert not np.asarray(gradient.log_variance).any()
    assert np.abs(gradient.shift).min() > 0


def test_fit_density_is_the_same_in_both_wings():
    spec = r.compose(r.realnvp(D, num_layers=2, hidden_dims=(6,)), r.batch_norm(D))
    drawn = WINGS["pyro"].named_arrays(WINGS["pyro"].fresh(spec))
    settings = {"num_epochs": 3, "batch_size": 16, "learning_rate": 1e-2, "progress": False}
    x = rows(90)
    fits = {
        name: wing.package.fit_density(wing.build(spec, drawn), x, **settings)
        for name, wing in WINGS.items()
    }
    losses = [fit.train_losses + fit.validation_losses for fit in fits.values()]
    np.testing.assert_allclose(*losses, rtol=1e-9)
    named = [WINGS[name].named_arrays(fit.flow) for name, fit in fits.items()]
    for name in named[0]:
        np.testing.assert_allclose(named[0][name], named[1][name], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(named[0]["layers.1.mean"], x.mean(0), atol=1)
