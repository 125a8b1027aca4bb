"""Batches of flows by ``vmap``, one trace per architecture, and runs of layers as one loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions.transforms import AffineTransform

import numpyro_flowkit as fk
from numpyro_flowkit.native import kernel_status
from numpyro_flowkit.transforms import Compose
from numpyro_flowkit.transforms.repeated import runs
from tests.numpyro.helpers import assert_close, assert_same_gradients, large, points, stack

pytestmark = pytest.mark.usefixtures("both_sweeps")

THIN = {"num_layers": 2, "hidden_dims": (8,)}
DIRECTIONS = ("forward_and_log_det", "inverse_and_log_det")


def slow(*values):
    """Further values of a parameter: more programs of the same kind to compile."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


every_recipe = pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])


def functional(flow, v):
    """A number to which both directions contribute, with no symmetry that could hide an error."""
    outputs = [out for name in DIRECTIONS for out in getattr(flow, name)(v)]
    return sum((out * points(*out.shape, seed=7 + i)).sum() for i, out in enumerate(outputs))


@every_recipe
@pytest.mark.parametrize(
    "inverse",
    [*(pytest.param(i, marks=pytest.mark.slow) for i in ("auto", "fixed_point")), "sweep"],
)
def test_an_ensemble_gives_what_its_flows_give(recipe, inverse):
    init = recipe(4, **THIN, inverse=inverse)
    flows = [large(init, seed=seed) for seed in range(3)]
    v = points(5, 4)

    @jax.jit
    def mapped(ensemble, v):
        def both(flow):
            return jax.value_and_grad(functional, (0, 1))(flow, v)

        return jax.vmap(both)(ensemble)

    alone = jax.jit(jax.value_and_grad(functional, (0, 1)))
    values, gradients = mapped(stack(*flows), v)
    expected_values, expected = stack(*(alone(flow, v) for flow in flows))
    np.testing.assert_allclose(values, expected_values, rtol=1e-10)
    assert_same_gradients(gradients, expected, 1e-10)


def test_an_ensemble_may_be_drawn_by_vmap_and_trained():
    init = fk.maf(3, **THIN)
    ensemble = jax.vmap(init)(jax.random.split(jax.random.key(0), 4))
    x = 1 + 2 * points(64, 3)

    def loss(flow):
        z, log_det = flow.inverse_and_log_det(x)
        return (0.5 * (z**2).sum(-1) - log_det).mean()

    @jax.jit
    def step(ensemble):
        losses, gradients = jax.vmap(jax.value_and_grad(loss))(ensemble)
        return losses, jax.tree.map(lambda w, g: w - 0.05 * g, ensemble, gradients)

    first, ensemble = step(ensemble)
    for _ in range(20):
        last, ensemble = step(ensemble)
    assert first.shape == (4,)
    assert bool((last < first - 0.5).all())


@every_recipe
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_one_trace_serves_all_weights_of_an_architecture(recipe, direction):
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def apply(name, flow, v):
        traces.append(name)
        return jax.value_and_grad(lambda flow, v: getattr(flow, name)(v)[0].sum(), (0, 1))(flow, v)

    init = recipe(4, **THIN)
    for seed in range(3):
        apply(direction, large(init, seed=seed), points(5, 4, seed=seed))
    # A spec built anew is equal, so it is the same architecture.
    apply(direction, large(recipe(4, **THIN), seed=9), points(5, 4))
    assert len(traces) == 1
    apply(direction, large(recipe(4, **THIN, inverse="fixed_point")), points(5, 4))
    assert len(traces) == 2


def one_by_one(flow, v, context, direction):
    """The layers of a flow, each on its own."""
    layers = flow.layers if direction == DIRECTIONS[0] else flow.layers[::-1]
    log_det = 0.0
    for layer in layers:
        given = context if getattr(layer, "context_dim", 0) else None
        v, change = getattr(layer, direction)(v, given)
        log_det = log_det + change
    return v, log_det


@every_recipe
@pytest.mark.parametrize(
    "mixing",
    ["none", *(pytest.param(m, marks=pytest.mark.slow) for m in ("reverse", "lu")), "random"],
)
@pytest.mark.parametrize("batch", [(), (3,), pytest.param((2, 3), marks=pytest.mark.slow)], ids=str)
def test_a_run_of_layers_is_its_layers_one_by_one(recipe, mixing, batch):
    init = recipe(5, num_layers=4, hidden_dims=(7,), mixing=mixing, seed=3, context_dim=2)
    flow, v = large(init), points(*batch, 5)
    direction = DIRECTIONS[0] if flow.sequential_forward else DIRECTIONS[1]
    for context in (points(2, seed=4), points(*batch, 2, seed=5)):
        got = getattr(flow, direction)(v, context)
        assert_close(got, one_by_one(flow, v, context, direction), 1e-11, 1e-11)


def names(parts):
    return [type(p).__name__ if not isinstance(p, tuple) else len(p) for p in parts]


def test_which_layers_share_a_loop():
    v = points(3, 4)
    compiled = kernel_status().startswith("compiled")  # by C each layer is one call, and no loop

    def shared(count):
        return ["MaskedAutoregressive"] * count if compiled else [count]

    flow = large(fk.maf(4, num_layers=3, hidden_dims=(8,), mixing="random"))
    assert names(runs(flow.layers, "sequential_forward", v, None)) == shared(3)
    assert names(runs(flow.layers, "sequential_inverse", v, None)) == ["MaskedAutoregressive"] * 3
    other = large(fk.maf(4, num_layers=2, hidden_dims=(9,)))
    iterated = large(fk.maf(4, num_layers=2, hidden_dims=(8,), inverse="fixed_point"))
    layers = (*flow.layers, *other.layers, AffineTransform(0.0, 2.0), *iterated.layers)
    expected = [
        *shared(3),
        *shared(2),
        "AffineTransform",
        "MaskedAutoregressive",
        "MaskedAutoregressive",
    ]
    assert names(runs(layers, "sequential_forward", v, None)) == expected
    x = Compose(layers)(v)
    for layer in layers:
        v = layer(v)
    assert_close(x, v, 1e-11, 1e-11)


def program_length(num_layers, input_dim):
    """Lines of the compiled program of sampling with its gradient."""
    flow = large(fk.maf(input_dim, num_layers=num_layers, hidden_dims=(input_dim,)))
    v = points(2, input_dim)

    def loss(flow, v):
        x, log_det = flow.forward_and_log_det(v)
        return (x**3).sum() + log_det.sum()

    return jax.jit(jax.grad(loss, (0, 1))).lower(flow, v).as_text().count("\n")


def test_the_program_grows_neither_with_the_coordinates_nor_with_the_layers():
    short = program_length(2, 70)
    assert program_length(2, 140) < 1.05 * short
    # Each further layer adds its weights as arguments, and to the stack of them, but no loop.
    assert program_length(8, 70) < 1.5 * short


def test_values_of_double_precision_stay_so_with_weights_of_single_precision():
    flow, v = large(fk.maf(3, **THIN), dtype=np.float32), points(4, 3)
    double = jax.tree.map(lambda leaf: leaf.astype(np.float64), flow)
    assert_close(flow(v), double(v), 1e-12, 1e-12)
    assert flow(v).dtype == jnp.float64
