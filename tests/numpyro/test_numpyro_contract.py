"""What NumPyro demands of a transform: equality, intermediates, shapes, domains."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to, constraints

import numpyro_flowkit as fk
from tests.numpyro.helpers import (
    RECIPES,
    TRANSFORMS,
    assert_close,
    forward,
    inverse,
    large,
    points,
    stack,
    standard_normal,
)

every_recipe = pytest.mark.parametrize("name", RECIPES)
every_transform = pytest.mark.parametrize("name", TRANSFORMS)
every_kind = pytest.mark.parametrize("name", ["maf", "iaf", "realnvp", "qr_linear"])


def build(name, seed=0):
    return large(RECIPES[name](4), seed=seed)


@every_transform
def test_equality_is_by_value(name):
    one, two = TRANSFORMS[name](), TRANSFORMS[name]()
    assert one.eq(two, static=True) is True
    assert one == two
    other = jax.tree.map(lambda leaf: leaf + 1, two)
    assert one.eq(other, static=True) is False
    assert one != other
    assert one.inv == two.inv
    assert one.inv != other.inv
    for stranger in (large(fk.lu_linear(3)), "flow", None):
        assert one.eq(stranger, static=True) is False


@every_transform
def test_equality_of_traced_flows_is_an_array(name):
    one, two = TRANSFORMS[name](), TRANSFORMS[name]()
    other = jax.tree.map(lambda leaf: leaf + 1, two)
    compare = jax.jit(lambda a, b: a.eq(b))
    assert bool(compare(one, two))
    assert not bool(compare(one, other))
    mapped = jax.jit(jax.vmap(lambda a: a.eq(one)))
    assert mapped(stack(two, other)).tolist() == [True, False]


@every_transform
def test_static_equality_never_touches_tracers(name):
    flow = TRANSFORMS[name]()
    answers = []

    @jax.jit
    def compare(a, b):
        answers.extend([a.eq(b, static=True), a.eq(a, static=True), a == flow])
        return 0

    compare(flow, flow)
    assert answers == [False, True, False]
    assert {type(answer) for answer in answers} == {bool}


@every_transform
def test_a_transform_has_no_hash(name):
    with pytest.raises(TypeError, match="unhashable"):
        hash(TRANSFORMS[name]())


@every_transform
def test_intermediates_give_the_log_determinant(name):
    transform, z = TRANSFORMS[name](), points(2, 3, 4)

    @jax.jit
    def both(transform, z):
        x, kept = transform.call_with_intermediates(z)
        return transform.log_abs_det_jacobian(z, x, kept), transform.log_abs_det_jacobian(z, x)

    kept, fresh = both(transform, z)
    assert kept.shape == (2, 3)
    assert_close(kept, fresh)


@pytest.mark.parametrize("name", ["coupling", "maf", "conditioned"])
def test_intermediates_survive_an_interstitial_expansion(name):
    transform = TRANSFORMS[name]()
    base = standard_normal(4).expand((3, 1))
    density = dist.TransformedDistribution(base, [transform]).expand((5, 3, 2))

    @jax.jit
    def draw(density, key):
        x, kept = density.sample_with_intermediates(key, (7,))
        return x, density.log_prob(x, kept), density.log_prob(x)

    x, kept, fresh = draw(density, jax.random.key(0))
    assert x.shape == (7, 5, 3, 2, 4)
    assert kept.shape == (7, 5, 3, 2)
    assert_close(kept, fresh, rtol=1e-8, atol=1e-8)


@every_recipe
def test_shapes_are_kept_and_wrong_ones_refused(name):
    flow = build(name)
    assert flow.forward_shape((7, 1, 4)) == flow.inverse_shape((7, 1, 4)) == (7, 1, 4)
    for shape_of in (flow.forward_shape, flow.inverse_shape):
        with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 4\), got \(7, 3\)"):
            shape_of((7, 3))


@every_kind
def test_batched_weights_broadcast(name):
    flows = [build(name, seed) for seed in range(3)]
    batch, z = stack(*flows), points(5, 1, 4)
    assert batch.forward_shape((4,)) == batch.inverse_shape((4,)) == (3, 4)
    assert batch.forward_shape((5, 1, 4)) == (5, 3, 4)
    density = fk.FlowDistribution(batch)
    assert (density.batch_shape, density.event_shape) == ((3,), (4,))
    values, log_dets = forward(batch, z)
    assert (values.shape, log_dets.shape) == ((5, 3, 4), (5, 3))
    for i, flow in enumerate(flows):
        assert_close((values[:, i], log_dets[:, i]), forward(flow, z[:, 0]))
    assert_close(inverse(batch, values)[0], jnp.broadcast_to(z, (5, 3, 4)), 1e-8, 1e-8)
    draws = jax.jit(lambda density, key: density.sample(key, (7,)))(density, jax.random.key(0))
    assert draws.shape == (7, 3, 4)


@every_recipe
def test_domain_and_codomain_are_known_to_biject_to(name):
    flow = build(name)
    assert flow.domain is flow.codomain is constraints.real_vector
    z = biject_to(flow.domain)(points(3, 4))
    assert bool(flow.codomain(forward(flow, z)[0]).all())


@every_recipe
def test_the_codomain_is_all_of_space(name):
    flow = build(name)
    far = 60 * points(50, 4)
    z, _ = inverse(flow, far)
    assert bool(jnp.isfinite(z).all())
    assert_close(forward(flow, z)[0], far, rtol=1e-8, atol=1e-7)


@every_transform
def test_the_sign_means_nothing_in_several_dimensions(name):
    with pytest.raises(NotImplementedError):
        TRANSFORMS[name]().sign  # noqa: B018
