"""Transforms as pytrees: weights are leaves, all else is static."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from numpyro.distributions.transforms import Transform

import numpyro_flowkit as fk
from numpyro_flowkit.laws import Additive
from numpyro_flowkit.transforms import MaskedAutoregressive
from tests.numpyro.helpers import (
    RECIPES,
    TRANSFORMS,
    OwnMaskedNet,
    assert_close,
    forward,
    large,
    points,
    stack,
)

every_transform = pytest.mark.parametrize("name", TRANSFORMS)
every_kind = pytest.mark.parametrize("name", ["maf", "iaf", "realnvp", "qr_linear"])


def build(name, seed=0):
    return large(RECIPES[name](4), seed=seed)


class Traced:
    """A jitted function that counts how often it was traced."""

    def __init__(self, function):
        self.traces = 0

        def counted(*args):
            self.traces += 1
            return function(*args)

        self.call = jax.jit(counted)


@every_transform
def test_a_transform_flattens_into_leaves_and_comparable_constants(name):
    one, two = TRANSFORMS[name](), TRANSFORMS[name]()
    leaves, (names, static) = one.tree_flatten()
    assert isinstance(one, Transform)
    assert len(leaves) == len(names)
    assert set(vars(one)) == {*names, *static}  # all state is in one of the two
    assert (static == two.tree_flatten()[1][1]) is True
    assert jax.tree.structure(one) == jax.tree.structure(two)
    assert hash(jax.tree.structure(one)) == hash(jax.tree.structure(two))


@every_transform
def test_unflattening_restores_every_attribute(name):
    transform = TRANSFORMS[name]()
    leaves, structure = jax.tree.flatten(transform)
    again = jax.tree.unflatten(structure, leaves)
    assert set(vars(again)) == set(vars(transform))
    assert again == transform
    assert repr(again) == repr(transform)


@every_transform
def test_weights_are_floating_leaves_and_nothing_else_is(name):
    transform = TRANSFORMS[name]()
    flow = transform.flow if isinstance(transform, fk.ConditionedFlow) else transform
    leaves = jax.tree.leaves(flow)
    assert [leaf.shape for leaf in leaves] == [array.shape for array in flow.spec.arrays()]
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(transform))


@every_kind
def test_two_flows_of_one_recipe_share_one_trace(name):
    traced = Traced(lambda flow, z: flow.forward_and_log_det(z))
    z = points(3, 4)
    one, two = (traced.call(build(name, seed), z) for seed in (0, 1))
    assert traced.traces == 1
    assert np.abs(one[0] - two[0]).max() > 0.1
    traced.call(build(name).inv.inv, z)  # the inverse's inverse is the same architecture
    assert traced.traces == 1


def test_another_architecture_is_traced_anew():
    traced = Traced(lambda flow, z: flow(z))
    z = points(3, 4)
    one, two = (traced.call(large(fk.permute(4, order=o)), z) for o in [(1, 0, 2, 3), (0, 1, 3, 2)])
    assert traced.traces == 2
    np.testing.assert_array_equal(one[:, [1, 0, 2, 3]], z)
    np.testing.assert_array_equal(two[:, [0, 1, 3, 2]], z)


@every_kind
def test_a_gradient_with_respect_to_a_flow_is_a_flow(name):
    flow, z, direction = build(name), points(3, 4), points(3, 4, seed=2)

    def loss(flow):
        x, log_det = flow.forward_and_log_det(z)
        return (x * direction).sum() + log_det.sum()

    gradient = jax.jit(jax.grad(loss))(flow)
    assert jax.tree.structure(gradient) == jax.tree.structure(flow)
    step = 1e-6
    moved = jax.tree.map(lambda w, g: w + step * g, flow, gradient)
    back = jax.tree.map(lambda w, g: w - step * g, flow, gradient)
    compiled = jax.jit(loss)
    slope = (compiled(moved) - compiled(back)) / (2 * step)
    expected = sum((g**2).sum() for g in jax.tree.leaves(gradient))
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


@every_kind
def test_a_flow_may_be_returned_from_jit(name):
    flow, z = build(name), points(3, 4)
    halved = jax.jit(lambda flow: jax.tree.map(lambda leaf: leaf / 2, flow))(flow)
    assert type(halved) is type(flow)
    assert_close(forward(halved, z), forward(jax.tree.map(lambda leaf: leaf / 2, flow), z))


@every_kind
def test_a_fresh_flow_may_be_drawn_under_jit(name):
    init, key = RECIPES[name](4), jax.random.key(3)
    assert jax.jit(init)(key) == init(key)


@every_kind
def test_a_flow_may_be_carried_by_scan(name):
    flow, z = build(name), points(3, 4)

    @jax.jit
    def run(flow):
        def step(flow, _):
            return jax.tree.map(lambda leaf: 0.9 * leaf, flow), flow(z)

        return jax.lax.scan(step, flow, None, length=3)

    last, images = run(flow)
    for image in images:
        assert_close(image, forward(flow, z)[0])
        flow = jax.tree.map(lambda leaf: 0.9 * leaf, flow)
    assert_close(jax.tree.leaves(last), jax.tree.leaves(flow))


@every_kind
def test_vmap_and_scan_over_stacked_flows_equal_a_loop(name):
    flows, z = [build(name, seed) for seed in range(3)], points(3, 4)
    expected = [forward(flow, z) for flow in flows]

    @jax.jit
    def mapped(flows, z):
        return jax.vmap(lambda flow: flow.forward_and_log_det(z))(flows)

    @jax.jit
    def scanned(flows, z):
        return jax.lax.scan(lambda _, flow: (None, flow.forward_and_log_det(z)), None, flows)[1]

    for function in (mapped, scanned):
        values, log_dets = function(stack(*flows), z)
        assert_close(list(zip(values, log_dets, strict=True)), expected)


def a_partial(scale, inputs, context=None):
    """Position j sees the sum of the positions below it."""
    return scale * (jnp.cumsum(inputs, -1) - inputs)


NETWORKS = {
    "a Partial": lambda seed: Partial(a_partial, jnp.asarray(0.3 + seed)),
    "a registered class": lambda seed: OwnMaskedNet(4, 1, seed=seed),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_users_own_network_is_a_node_of_the_tree(kind):
    traced = Traced(lambda flow, z: flow.inverse_and_log_det(z))
    x = points(3, 4)
    for seed in (0, 1):
        net = NETWORKS[kind](seed)
        flow = MaskedAutoregressive(net, Additive(), (0, 1, 2, 3))
        z, log_det = traced.call(flow, x)
        assert_close(z, x - net(x))
        assert_close(log_det, jnp.zeros(3))
    assert traced.traces == 1
