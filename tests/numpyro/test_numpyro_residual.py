"""Planar and Sylvester flows under JAX's transformations, in guides, and classes of one's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.test_util import check_grads

import numpyro_flowkit as fk
from numpyro_flowkit.transforms import Planar
from tests.numpyro.helpers import large, points

FLOWS = {
    "planar": lambda: large(fk.planar(3, num_layers=2)),
    "sylvester": lambda: large(fk.sylvester(3, num_layers=1, rank=2)),
}
every_flow = pytest.mark.parametrize("name", FLOWS)


@pytest.mark.parametrize("name", ["planar", pytest.param("sylvester", marks=pytest.mark.slow)])
def test_derivatives_of_the_inverse_of_two_orders_by_finite_differences(name):
    flow, x = FLOWS[name](), points(2, 3)
    check_grads(jax.jit(flow.inverse_and_log_det), (x,), order=2, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@every_flow
def test_modes_of_derivatives_agree_in_a_scan_and_under_vmap(name):
    flow, x = FLOWS[name](), points(2, 3)

    def log_prob(x):
        def twice(carry, _):
            z, log_det = flow.inverse_and_log_det(carry[0])
            return (z, carry[1] + log_det), None

        (z, log_det), _ = jax.lax.scan(twice, (x, jnp.zeros(())), None, length=2)
        return -0.5 * (z**2).sum() + log_det

    modes = (
        jax.hessian(log_prob),
        jax.jacfwd(jax.jacfwd(log_prob)),
        jax.jacrev(jax.jacrev(log_prob)),
    )
    first, *others = (np.asarray(jax.jit(jax.vmap(second))(x)) for second in modes)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-9, atol=1e-9)


def model():
    with numpyro.plate("arms", 3):
        numpyro.sample("x", dist.Normal(jnp.zeros(3), jnp.array([1.0, 0.5, 2.0])))


RECIPES = {
    "planar": functools.partial(fk.planar, num_layers=2),
    "sylvester": functools.partial(fk.sylvester, num_layers=1, rank=2),
}


@pytest.mark.slow
@every_flow
def test_a_guide_of_these_flows_fits_and_is_diagnosed(name):
    guide = fk.AutoFlow(model, RECIPES[name], base="normal")
    result = fk.fit_guide(model, guide, num_steps=60, progress=False)
    assert result.elbo > -0.1
    diagnosis = fk.diagnose(guide, result.params, rng_key=jax.random.key(1), num_samples=500)
    assert diagnosis.khat < 0.7


@pytest.mark.slow
def test_a_density_is_fitted():
    rng = np.random.default_rng(0)
    rows = np.concatenate([0.3 * rng.normal(size=(150, 2)) + shift for shift in (-1, 1)])
    init = fk.planar(2, num_layers=4)
    density = fk.FlowDistribution(init(jax.random.key(0)))
    before = -float(density.log_prob(jnp.asarray(rows)).mean())
    fit = fk.fit_density(
        init, rows, num_epochs=20, batch_size=50, learning_rate=0.02, progress=False
    )
    assert fit.best_loss < before - 0.2


def test_a_network_of_ones_own_serves_a_planar_layer():
    net = jax.tree_util.Partial(
        lambda weight, inputs, context=None: context @ weight, points(2, 7, seed=4)
    )
    zeros, one = jnp.zeros(3), jnp.zeros(1)
    flow = Planar(zeros, one, zeros, conditioner=net, context_dim=2)
    assert flow.spec is None
    z, context = points(4, 3), points(4, 2, seed=3)
    x, log_det = flow.forward_and_log_det(z, context)
    back, inverse_log_det = flow.inverse_and_log_det(x, context)
    np.testing.assert_allclose(back, z, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-10, atol=1e-10)


def test_arrays_that_do_not_fit_are_refused():
    zeros, one = jnp.zeros(3), jnp.zeros(1)
    with pytest.raises(ValueError, match=r"expected shapes \(D,\), \(1,\), \(D,\), got"):
        Planar(zeros, zeros, zeros)
    with pytest.raises(ValueError, match="conditioner: expected one with a context"):
        Planar(zeros, one, zeros, context_dim=2)
