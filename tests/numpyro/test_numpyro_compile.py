"""jit, grad, vmap and scan give what plain calls give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_flowkit as fk
from tests.numpyro.helpers import (
    RECIPES,
    assert_close,
    assert_same_gradients,
    forward,
    inverse,
    large,
    layer,
    points,
)

every_recipe = pytest.mark.parametrize("name", RECIPES)
DIRECTIONS = ("forward_and_log_det", "inverse_and_log_det")


def both(flow, z):
    """Both directions, so that one compilation covers them."""
    return [getattr(flow, direction)(z) for direction in DIRECTIONS]


def functional(flow, z):
    outputs = jax.tree.leaves(both(flow, z))
    return sum((out * points(*out.shape, seed=7 + i)).sum() for i, out in enumerate(outputs))


@pytest.mark.parametrize("recipe", [fk.maf, fk.realnvp])
def test_compiled_equals_eager(recipe):
    flow, z = layer(recipe, 3), points(2, 3)
    assert_close([forward(flow, z), inverse(flow, z)], both(flow, z), 1e-12, 1e-12)


@pytest.mark.parametrize("name", ["maf", "iaf", "nice", "lu_linear", "qr_linear", "permute"])
def test_vmap_and_scan_over_points_equal_the_batch(name):
    flow, z = large(RECIPES[name](4)), points(3, 4)

    @jax.jit
    def mapped(flow, z):
        scanned = jax.lax.scan(lambda _, row: (None, both(flow, row)), None, z)[1]
        return jax.vmap(both, (None, 0))(flow, z), scanned

    expected = [forward(flow, z), inverse(flow, z)]
    by_vmap, by_scan = mapped(flow, z)
    assert_close(by_vmap, [tuple(e) for e in expected])
    assert_close(by_scan, [tuple(e) for e in expected])


@pytest.mark.parametrize("name", ["iaf", "nice", "qr_linear"])
def test_per_example_gradients_sum_to_the_gradient_of_the_batch(name):
    flow, z = large(RECIPES[name](4)), points(3, 4)

    def loss(flow, z):
        return sum((out**2).sum() for out in jax.tree.leaves(both(flow, z)))

    @jax.jit
    def gradients(flow, z):
        each = jax.vmap(jax.grad(loss, (0, 1)), (None, 0))(flow, z)
        return each, jax.grad(loss, (0, 1))(flow, z)

    (each, rows), (whole, points_gradient) = gradients(flow, z)
    assert_same_gradients(jax.tree.map(lambda leaf: leaf.sum(0), each), whole, 1e-9)
    assert_same_gradients(rows, points_gradient, 1e-9)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(whole) if leaf.size)


@every_recipe
def test_integers_are_refused_under_jit(name):
    flow = large(RECIPES[name](4))
    for direction in (forward, inverse):
        with pytest.raises(TypeError, match="expected a floating dtype, got int"):
            direction(flow, jnp.ones((2, 4), int))


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
def test_a_flow_is_rematerialised_and_differentiated_alike(recipe):
    flow, z = layer(recipe, 4), points(3, 4)
    plain = jax.jit(jax.grad(functional))(flow, z)
    saved = jax.jit(jax.grad(jax.checkpoint(functional)))(flow, z)
    assert_same_gradients(saved, plain, 1e-10)


def test_a_draw_is_the_same_inside_and_outside_jit():
    density = fk.FlowDistribution(layer(fk.realnvp, 3))
    key = jax.random.key(1)
    compiled = jax.jit(lambda density: density.sample(key, (2,)))(density)
    np.testing.assert_allclose(compiled, density.sample(key, (2,)), rtol=1e-10)
