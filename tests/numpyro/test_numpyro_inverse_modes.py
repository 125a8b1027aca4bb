"""``inverse="sweep" | "fixed_point" | "auto"``: the choice, the iteration, its report."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_flowkit as fk
from flowkit_core.reports import ConvergenceWarning
from numpyro_flowkit.laws import Affine
from numpyro_flowkit.transforms import MaskedAutoregressive
from numpyro_flowkit.transforms.solver import choose_inverse, fixed_point
from tests.numpyro.helpers import OwnMaskedNet, assert_close, large, layer, points

THIN = {"num_layers": 1, "hidden_dims": (8,)}
every_recipe = pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])


def sequential(flow, v, context=None):
    forward = flow.sequential_forward
    return (flow.forward_and_log_det if forward else flow.inverse_and_log_det)(v, context)


def chain(dim, method="fixed_point", dtype=np.float64):
    """Each coordinate is the one before it plus the input: only D iterations find all of them."""
    template = fk.maf(dim, num_layers=1, hidden_dims=(), law="additive", inverse=method)
    arrays = {a.name: jnp.zeros(a.shape, dtype) for a in template.spec.arrays()}
    weight = next(name for name in arrays if name.endswith("weight_0"))
    arrays[weight] = jnp.eye(dim, k=-1, dtype=dtype)
    return fk.build(template.spec, arrays).layers[0]


@pytest.mark.parametrize(
    ("requested", "input_dim", "platform", "expected"),
    [
        ("auto", 1000, "cpu", "sweep"),
        ("auto", 32, "gpu", "fixed_point"),
        ("auto", 31, "gpu", "sweep"),
        ("auto", 64, "tpu", "fixed_point"),
        ("sweep", 64, "gpu", "sweep"),
        ("fixed_point", 2, "cpu", "fixed_point"),
    ],
)
def test_which_method_is_chosen_for_a_made(requested, input_dim, platform, expected):
    net = layer(fk.maf, 3).conditioner
    chosen = choose_inverse(requested, net, input_dim=input_dim, platform=platform)
    assert chosen == expected


@pytest.mark.parametrize("requested", ["auto", "fixed_point"])
def test_a_network_of_the_users_is_always_iterated(requested):
    net = OwnMaskedNet(3, 2)
    chosen = choose_inverse(requested, net, input_dim=3, platform="cpu")
    assert chosen == "fixed_point"


def test_a_sweep_over_a_users_network_and_unknown_methods_are_refused():
    with pytest.raises(ValueError, match=r'inverse: "sweep" needs a MADE.*got a OwnMaskedNet'):
        MaskedAutoregressive(OwnMaskedNet(3, 2), Affine(), (0, 1, 2), inverse="sweep")
    with pytest.raises(ValueError, match=r"inverse: expected .*sweep.*newton"):
        MaskedAutoregressive(OwnMaskedNet(3, 2), Affine(), (0, 1, 2), inverse="newton")


@every_recipe
@pytest.mark.parametrize("method", ["sweep", "fixed_point"])
def test_the_spec_decides_and_survives_a_file(recipe, method, tmp_path):
    flow = large(recipe(4, **THIN, inverse=method))
    assert flow.layers[0].method == method
    fk.save_flow(flow, tmp_path / "flow.npz")
    assert fk.load_flow(tmp_path / "flow.npz").layers[0].inverse == method


@every_recipe
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_methods_find_the_same_point(recipe, dtype):
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    v, context = points(20, 9, dtype=dtype), points(20, 2, seed=5, dtype=dtype)
    found = []
    for method in ("sweep", "fixed_point", "auto"):
        init = recipe(9, num_layers=2, hidden_dims=(16,), context_dim=2, inverse=method)
        found.append(sequential(large(init, dtype=dtype), v, context))
        assert found[-1][0].dtype == dtype
    assert_close(found[1], found[0], tolerance, tolerance)
    assert_close(found[2], found[0], 1e-15, 1e-15)  # on a CPU auto is the sweep


def test_a_chain_takes_as_many_iterations_as_it_has_coordinates_and_is_exact_then():
    flow, v = chain(12), points(5, 12)
    expected = jnp.cumsum(v, axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # moving in the last iteration is no failure
        found = sequential(flow, v)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert flow.iterations(v) == 12
    assert chain(12, "sweep").iterations(v) is None


def test_the_iterations_are_those_of_the_slowest_point():
    fresh = fk.maf(64, num_layers=1, hidden_dims=(8,), inverse="fixed_point")(jax.random.key(0))
    assert fresh.layers[0].iterations(points(3, 64)) == 1  # the identity
    assert chain(8).iterations(jnp.zeros((3, 8))) == 1
    assert chain(8).iterations(jnp.zeros((3, 8)).at[1, 5].set(1.0)) == 3


def test_a_point_that_is_not_a_number_holds_nobody_up_and_stops_nobody():
    flow, clean = chain(10), points(4, 10)
    for bad in (math.nan, math.inf):
        found = sequential(flow, clean.at[2, 3].set(bad))[0]
        others = np.array([0, 1, 3])
        expected = sequential(flow, clean)[0]
        np.testing.assert_allclose(found[others], expected[others], rtol=1e-14)
        assert not bool(jnp.isfinite(found[2, 3:]).any())
    settled = jnp.zeros((2, 10)).at[0, 0].set(math.nan)
    assert flow.iterations(settled) <= 2  # the NaN does not count


def test_an_overflow_on_the_way_is_mended():
    class Steep(OwnMaskedNet):
        """Position 1 overflows unless position 0 is right; position 2 sees it with weight zero."""

        def __call__(self, inputs, context=None):
            first, second, _ = jnp.moveaxis(inputs, -1, 0)
            rows = [jnp.ones_like(first), jnp.exp(800 * (first + 1)), 0 * second]
            shift = jnp.stack(rows, axis=-1)
            return jnp.concatenate([-shift, 0 * shift], axis=-1)

    jax.tree_util.register_pytree_node(
        Steep, lambda net: ((net.params,), None), lambda _, leaves: _steep(Steep, leaves)
    )
    flow = MaskedAutoregressive(Steep(3, 2), Affine(), (0, 1, 2))
    x = flow(jnp.array([0.0, 0.5, 0.25]))
    assert_close(x, jnp.array([-1.0, -0.5, 0.25]), 1e-12)


def _steep(cls, leaves):
    net = object.__new__(cls)
    (net.params,) = leaves
    return net


class Rough(OwnMaskedNet):
    """No fixed point at all: the network sees its own position, so it is not autoregressive."""

    def __call__(self, inputs, context=None):
        return jnp.concatenate([2 * inputs, 0 * inputs], axis=-1)


jax.tree_util.register_pytree_node(
    Rough, lambda net: ((net.params,), None), lambda _, leaves: _steep(Rough, leaves)
)


def rough():
    return MaskedAutoregressive(Rough(3, 2), Affine(), (0, 1, 2))


def warned(function, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jax.block_until_ready(function(*args))
        jax.effects_barrier()
    return [w for w in caught if issubclass(w.category, ConvergenceWarning)]


def test_an_iteration_that_goes_on_moving_warns_under_every_transformation():
    flow, v = rough(), points(4, 3)

    def loss(v):
        return flow(v).sum()

    for function in (loss, jax.jit(loss), jax.grad(loss), jax.vmap(loss), jax.jit(jax.vmap(loss))):
        caught = warned(function, v)
        assert caught, function
        assert "after 3 iterations" in str(caught[0].message)


def test_an_iteration_that_arrives_does_not_warn_under_any_transformation():
    flow, v = chain(6), points(4, 6)

    def loss(v):
        return flow(v).sum()

    for function in (loss, jax.jit(loss), jax.grad(loss), jax.vmap(loss), jax.jit(jax.vmap(loss))):
        assert not warned(function, v)


def test_the_iteration_counts_and_stops_alike_in_a_vmap():
    flow = chain(8)
    rows = jnp.stack([jnp.zeros(8), jnp.zeros(8).at[5].set(1.0), jnp.ones(8)])
    counts = jax.vmap(
        lambda v: fixed_point(flow.conditioner, flow.law, flow.free, v, None).iterations
    )(rows)
    assert counts.tolist() == [1, 3, 8]


def test_an_empty_batch_takes_no_iteration():
    assert chain(4).iterations(jnp.zeros((0, 4))) == 0
    assert sequential(chain(4), jnp.zeros((2, 0, 4)))[0].shape == (2, 0, 4)
