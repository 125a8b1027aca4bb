"""Path gradients of a flow's distribution, against their definition and against total gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax import lax

import numpyro_flowkit as fk
from tests.cases import CASES, arrays_for, points_for
from tests.numpyro.helpers import SMALL, assert_same_gradients, large, points
from tests.wings import WINGS

TRAINABLE = sorted(name for name, spec in CASES.items() if spec.arrays())
FLOWS = {
    "iaf": fk.iaf(3, **SMALL),
    "maf": fk.maf(3, **SMALL),
    "realnvp": fk.realnvp(3, **SMALL),
    "maf_spline": fk.maf(3, law="spline", **SMALL),
    "realnvp_spline": fk.realnvp(3, law="spline", **SMALL),
}
every_flow = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "maf_spline" else n for n in FLOWS]
)
KEY = jax.random.key(5)


def target(x):
    """Some log-density of x."""
    return -(0.3 * x**2 + jnp.sin(x)).sum(-1)


def same(density):
    return density


def path_gradient(make, params, shape=(), wrap=same):
    """Gradient of ``sum of log q(x) - log p(x)`` over draws, as an ELBO has it."""

    def bound(params):
        density = wrap(make(*params, path_gradient=True))
        x, intermediates = density.sample_with_intermediates(KEY, shape)
        return (density.log_prob(x, intermediates) - target(x).sum()).sum()

    return jax.jit(jax.grad(bound))(params)


def path_gradient_by_definition(make, params, shape=(), wrap=same):
    """The same; log q is evaluated by the inverse, in a copy in which nothing is trainable."""

    def bound(params):
        x = wrap(make(*params)).sample(KEY, shape)
        fixed = wrap(make(*lax.stop_gradient(params)))
        return (fixed.log_prob(x) - target(x).sum()).sum()

    return jax.jit(jax.grad(bound))(params)


def assert_as_defined(make, params, shape=(), wrap=same):
    got = path_gradient(make, params, shape, wrap)
    expected = path_gradient_by_definition(make, params, shape, wrap)
    assert_same_gradients(got, expected, tolerance=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("case", TRAINABLE)
def test_it_is_the_gradient_with_the_density_held_fixed(case):
    spec = CASES[case]
    flow = WINGS["numpyro"].build(spec, arrays_for(spec))
    _, context = points_for(spec, (4,))
    if context is None:
        assert_as_defined(fk.FlowDistribution, (flow,), (4,))
        return

    def make(flow, context, **kwargs):
        return fk.FlowDistribution(flow, context=context, **kwargs)

    assert_as_defined(make, (flow, jnp.asarray(context)))


def bent(loc, scale):
    """A base that is itself transformed, by a map that is not linear."""
    inner = dist.Normal(loc, scale).to_event(1)
    return dist.TransformedDistribution(inner, dist.transforms.ExpTransform())


BASES = {
    "normal": lambda loc, scale: dist.Normal(loc, scale).to_event(1),
    "single numbers": dist.Normal,
    "student": lambda loc, scale: dist.StudentT(5.0, loc, scale).to_event(1),
    "transformed": bent,
    "batch": lambda loc, scale: dist.Normal(jnp.broadcast_to(loc, (2, 3)), scale).to_event(1),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", ["iaf", pytest.param("maf", marks=pytest.mark.slow)])
def test_any_base_and_its_own_parameters_take_part(name, base):
    def make(flow, loc, scale, **kwargs):
        return fk.FlowDistribution(flow, BASES[base](loc, scale), **kwargs)

    params = (large(FLOWS[name]), points(3, seed=2), jnp.abs(points(3, seed=3)) + 0.5)
    assert_as_defined(make, params, (4,))


WRAPPED = {
    "expand": (lambda d: d.expand((2,)), ()),
    "expand twice": (lambda d: d.expand((2,)).expand((3, 2)), ()),
    "to_event": (lambda d: d.expand((3,)).to_event(1), (2,)),
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_wrapped_distributions_keep_path_gradients(wrapper):
    wrap, shape = WRAPPED[wrapper]
    assert_as_defined(fk.FlowDistribution, (large(FLOWS["maf"]),), shape, wrap)


def masked(density):
    return density.expand((3,)).mask(np.array([True, False, True]))


def test_a_mask_leaves_the_total_gradient():
    params = (large(FLOWS["maf"]),)  # since NumPyro's masks hand on no intermediates

    def make_plain(flow, path_gradient):
        return fk.FlowDistribution(flow)

    got = path_gradient(fk.FlowDistribution, params, (2,), masked)
    assert_same_gradients(got, path_gradient(make_plain, params, (2,), masked))


@every_flow
def test_values_are_those_without_path_gradients(name):
    flow = large(FLOWS[name])
    density = fk.FlowDistribution(flow, path_gradient=True)
    x, intermediates = density.sample_with_intermediates(KEY, (50,))
    expected = fk.FlowDistribution(flow).log_prob(x)
    np.testing.assert_allclose(density.log_prob(x, intermediates), expected, rtol=1e-8, atol=1e-8)


@every_flow
def test_foreign_points_have_the_gradient_of_the_density(name):
    x = points(6, 3)

    def gradient(path_gradient):
        @jax.jit
        @jax.grad
        def of(flow):
            return fk.FlowDistribution(flow, path_gradient=path_gradient).log_prob(x).sum()

        return of(large(FLOWS[name]))

    assert_same_gradients(gradient(True), gradient(False))


@pytest.mark.slow
@every_flow
def test_path_gradients_have_the_mean_of_total_gradients(name):
    flow = large(FLOWS[name], seed=1)

    def loss(flow, key, path_gradient):
        density = fk.FlowDistribution(flow, path_gradient=path_gradient)
        x, intermediates = density.sample_with_intermediates(key, (30,))
        return (density.log_prob(x, intermediates) - target(x)).mean()

    @jax.jit
    def difference(key):
        one, two = (jax.grad(loss)(flow, key, each) for each in (True, False))
        leaves = jax.tree.leaves(jax.tree.map(jnp.subtract, one, two))
        return jnp.concatenate([leaf.ravel() for leaf in leaves])

    differences = np.stack([difference(key) for key in jax.random.split(KEY, 300)])
    # Of the same draws, so that what both share cancels; masked weights never differ at all.
    moved = differences[:, np.abs(differences).max(0) > 1e-9]
    assert moved.shape[1] > 30
    z = moved.mean(0) / (moved.std(0, ddof=1) / len(moved) ** 0.5)
    # One false alarm in a thousand runs, whichever of the weights raises it.
    assert np.abs(z).max() < dist.Normal().icdf(1 - 1e-3 / (2 * moved.shape[1]))
