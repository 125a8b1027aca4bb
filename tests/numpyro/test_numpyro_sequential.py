"""The sequential direction against the plain loop that calls the network once per coordinate."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_flowkit as fk
from numpyro_flowkit.laws import Additive, Affine
from numpyro_flowkit.transforms import InverseAutoregressive, MaskedAutoregressive
from tests.numpyro.helpers import (
    OwnMaskedNet,
    assert_close,
    assert_same_gradients,
    large,
    layer,
    points,
    stack,
)
from tests.numpyro.laws import ArcSinh

pytestmark = pytest.mark.usefixtures("both_sweeps")


def sequential(layer, v, context=None):
    if layer.sequential_forward:
        return layer.forward_and_log_det(v, context)
    return layer.inverse_and_log_det(v, context)


def loop(layer, v, context=None):
    """Coordinate by coordinate, the whole network for each; autodiff sees every step."""
    solve = layer.law.forward if layer.sequential_forward else layer.law.inverse
    dim, order = layer.input_dim, np.array(layer.order)

    def step(u, j):
        raw = layer.conditioner(u[..., order], context)
        raw = raw.reshape(*raw.shape[:-1], layer.law.num_conditioned, dim)
        params = [raw[..., p, j] for p in range(layer.law.num_conditioned)]
        if layer.free is not None:
            params += [row[j] for row in layer.free]
        entry, log_slope = solve(v[..., jnp.asarray(order)[j]], tuple(params))
        return u.at[..., jnp.asarray(order)[j]].set(entry), log_slope

    u, log_slopes = jax.lax.scan(step, jnp.zeros_like(v), jnp.arange(dim))
    return u, log_slopes.sum(0)


def functional(function):
    """A random linear functional of both outputs, so that no part of a gradient cancels."""

    def value(layer, v, context=None):
        u, log_det = function(layer, v, context)
        loss = (u * points(*u.shape, seed=11)).sum() + (log_det * points(*log_det.shape)).sum()
        return loss, (u, log_det)

    return value


@jax.jit
def compared(layer, v, context):
    """Gradients with respect to everything and outputs, by the library and by the loop."""
    wanted = (0, 1) if context is None else (0, 1, 2)
    return [
        jax.grad(functional(function), wanted, has_aux=True)(layer, v, context)
        for function in (sequential, loop)
    ]


def check(layer, v, context=None):
    (got_gradients, got), (expected_gradients, expected) = compared(layer, v, context)
    assert_close(got, expected)
    if v.size:
        assert float(jnp.abs(expected_gradients[1]).max()) > 0.1
    assert_same_gradients(got_gradients, expected_gradients)


CASES = {
    "plain": (fk.maf, 5, {"hidden_dims": (16, 12), "context_dim": 3}),
    "one coordinate": (fk.iaf, 1, {"context_dim": 2}),
    "two coordinates": (fk.maf, 2, {}),
    "narrower than D": (fk.maf, 7, {"hidden_dims": (3,)}),
    "narrow, then wide": (fk.iaf, 6, {"hidden_dims": (2, 9)}),
    "no hidden layer": (fk.maf, 5, {"hidden_dims": (), "context_dim": 3}),
    "residual": (fk.maf, 5, {"hidden_dims": (7, 7), "residual": True}),
    "residual, narrow": (fk.iaf, 6, {"hidden_dims": (4, 4), "residual": True, "context_dim": 3}),
    "additive": (fk.iaf, 5, {"law": "additive", "activation": "tanh"}),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_loop(case):
    recipe, dim, kwargs = CASES[case]
    flow = layer(recipe, dim, mixing="random", seed=4, **kwargs)
    context = points(4, flow.context_dim, seed=8) if flow.context_dim else None
    check(flow, points(4, dim), context)


LAWS = {"additive": Additive(), "affine": Affine(bound=1.5), "own": ArcSinh()}
CLASSES = {"maf": MaskedAutoregressive, "iaf": InverseAutoregressive}


def own_layer(kind, law, context_dim=0, dim=4, seed=0):
    net = OwnMaskedNet(dim, LAWS[law].num_conditioned, context_dim, seed=seed)
    order = (*range(1, dim), 0)
    free = 0.3 * jnp.ones((LAWS[law].num_free, dim)) if LAWS[law].num_free else None
    return CLASSES[kind](net, LAWS[law], order, context_dim=context_dim, free=free)


@pytest.mark.parametrize(
    ("kind", "law", "context_dim"),
    [("iaf", "additive", 0), ("maf", "affine", 0), ("iaf", "own", 2)],
)
def test_a_users_own_network_and_law_agree_with_the_loop(kind, law, context_dim):
    context = points(4, context_dim, seed=8) if context_dim else None
    check(own_layer(kind, law, context_dim), points(4, 4), context)


def test_the_swept_network_may_carry_a_users_own_law():
    template = layer(fk.maf, 4)
    check(MaskedAutoregressive(template.conditioner, ArcSinh(), (2, 0, 3, 1)), points(4, 4))


def test_a_context_shared_by_the_batch_receives_the_sum_of_gradients():
    flow = layer(fk.iaf, 3, hidden_dims=(), context_dim=2)
    check(flow, points(4, 3), points(2, seed=8))


FLOWS = {
    "maf": lambda seed=0: large(fk.maf(4, num_layers=1, hidden_dims=(8,)), seed=seed).layers[0],
    "iaf": lambda seed=0: large(fk.iaf(4, num_layers=1, hidden_dims=(8,)), seed=seed).layers[0],
    "own": lambda seed=0: own_layer("maf", "affine", seed=seed),
}
every_flow = pytest.mark.parametrize("name", FLOWS)


@every_flow
def test_first_and_second_derivatives_in_forward_mode_equal_the_loops(name):
    flow, v = FLOWS[name](), points(3, 4)
    tangents = jax.tree.map(lambda a: points(*a.shape, seed=3), (flow, v))

    def pushed(function):
        grad = jax.grad(functional(function), (0, 1), has_aux=True)
        return jax.jit(lambda flow, v: jax.jvp(grad, (flow, v), tangents))(flow, v)

    got, expected = pushed(sequential), pushed(loop)
    _, ((_, second), _) = expected
    assert float(jnp.abs(second).max()) > 0.1
    assert_same_gradients(got, expected, 1e-9)


@pytest.mark.parametrize("name", ["maf", "own"])
def test_vmap_equals_a_loop_over_flows_and_points(name):
    flows, v = [FLOWS[name](seed) for seed in range(2)], points(2, 3, 4)

    def gradient(function):
        return jax.grad(functional(function), (0, 1), has_aux=True)

    rows = jax.vmap(gradient(sequential), (None, 0))
    got = jax.jit(jax.vmap(rows))(stack(*flows), v)
    alone = jax.jit(gradient(loop))
    expected = stack(*(stack(*(alone(flows[i], v[i, j]) for j in range(3))) for i in range(2)))
    assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "batch"), [("maf", ()), ("iaf", (2, 0, 3)), ("own", ()), ("own", (2, 0, 3))], ids=str
)
def test_points_without_a_batch_and_empty_batches(name, batch):
    check(FLOWS[name](), points(*batch, 4))


@every_flow
def test_a_row_that_is_not_a_number_stays_alone(name):
    flow, clean = FLOWS[name](), points(3, 4)
    gradient = jax.jit(jax.grad(lambda v: functional(sequential)(flow, v)[0]))
    got, expected = gradient(clean.at[1, flow.order[0]].set(math.nan)), gradient(clean)
    assert bool(jnp.isnan(got[1]).any())
    np.testing.assert_allclose(got[::2], expected[::2], rtol=1e-12)


def kept_bytes(function, flow, v):
    """Bytes that reverse mode keeps for the backward pass; nothing is computed."""
    kept = jax.eval_shape(lambda flow, v: jax.vjp(function, flow, v)[1], flow, v)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


def one_pass(layer, v):
    if layer.sequential_forward:
        return layer.inverse_and_log_det(v)
    return layer.forward_and_log_det(v)


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
def test_the_gradient_keeps_the_memory_of_one_pass_however_many_coordinates(recipe):
    for dim in (8, 32, 128):
        flow, v = layer(recipe, dim, hidden_dims=(64,)), points(100, dim)
        of_one_pass = kept_bytes(one_pass, flow, v)
        assert kept_bytes(loop, flow, v) > 3 * of_one_pass
        assert kept_bytes(sequential, flow, v) < 1.3 * of_one_pass
