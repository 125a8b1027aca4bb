"""Path gradients of guides: none at the posterior, finite far off it, and in amortised guides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from jax import lax
from numpyro import infer
from numpyro.infer.initialization import init_to_value

import numpyro_flowkit as fk
from numpyro_flowkit.guides.layers import affine_layer
from tests.numpyro import models
from tests.numpyro.helpers import assert_same_gradients
from tests.numpyro.models import FLOW, GUIDES, SMALL, large, started

# Most of it is compilation; the Pyro twin of this file makes the same claims in `make test`.
pytestmark = pytest.mark.slow

SPLINES = {
    name: functools.partial(fk.AutoFlow, flow=functools.partial(recipe, law="spline", **SMALL))
    for name, recipe in (("maf", fk.maf), ("iaf", fk.iaf), ("realnvp", fk.realnvp))
}


@pytest.mark.parametrize("name", GUIDES)
def test_at_the_posterior_every_draw_has_gradient_zero(name):
    guide, params = started(name, models.regression)
    mean, covariance = models.regression_posterior()
    factor = np.linalg.cholesky(covariance)
    diagonal = jnp.log(jnp.diag(factor))
    exact = affine_layer(jnp.asarray(mean), diagonal, jnp.asarray(factor), frozen=False)
    flow, _, frame = params[FLOW].layers
    params = {FLOW: type(params[FLOW])((flow, exact, frame))}

    def sizes(path_gradient):
        guide.path_gradient = path_gradient

        @jax.jit
        @jax.grad
        def gradient(params, key):
            return infer.Trace_ELBO().loss(key, params, models.regression, guide)

        found = [jax.tree.leaves(gradient(params, jax.random.key(seed))) for seed in range(4)]
        return [max(float(jnp.abs(leaf).max()) for leaf in leaves) for leaves in found]

    assert max(sizes(path_gradient=True)) < 1e-11
    assert min(sizes(path_gradient=False)) > 0.01


def of_rows(data):
    with numpyro.plate("rows", len(data)):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        numpyro.sample("y", dist.Normal(x.sum(-1), 0.5), obs=data)


def context_of(weight, data):
    return jnp.tanh(data[:, None] * weight)


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf, fk.realnvp])
def test_amortised_guides_in_plates_have_path_gradients(recipe):
    """A draw for each row of a plate, in a context of its own."""
    init = recipe(2, context_dim=3, **SMALL)
    data = jnp.array([0.3, -1.0, 2.0])
    params = {"flow": large(init(jax.random.key(0))), "weight": jnp.array([0.5, -1.0, 2.0])}

    def guide(data):
        flow, weight = numpyro.param("flow", init), numpyro.param("weight", jnp.ones(3))
        with numpyro.plate("rows", len(data)):
            context = context_of(weight, data)
            numpyro.sample("x", fk.FlowDistribution(flow, context=context, path_gradient=True))

    @jax.jit
    @jax.grad
    def of_elbo(params):
        return infer.Trace_ELBO().loss(jax.random.key(1), params, of_rows, guide, data)

    # The key that the guide's site is drawn with.
    key = jax.random.split(jax.random.split(jax.random.key(1))[1])[1]

    @jax.jit
    @jax.grad
    def by_definition(params):
        context = context_of(params["weight"], data)
        x = fk.FlowDistribution(params["flow"], context=context).sample(key)
        flow, context = lax.stop_gradient((params["flow"], context))
        fixed = fk.FlowDistribution(flow, context=context)
        log_p = dist.Normal(0.0, 1.0).log_prob(x).sum(-1)
        log_p += dist.Normal(x.sum(-1), 0.5).log_prob(data)
        return (fixed.log_prob(x) - log_p).sum()

    assert_same_gradients(of_elbo(params), by_definition(params), tolerance=1e-8)


@pytest.mark.parametrize("name", SPLINES)
def test_spline_guides_stay_finite_from_far_off_the_posterior(name):
    far = init_to_value(values={"weights": jnp.array([40.0, -60.0])})
    guide = SPLINES[name](models.regression, init_loc_fn=far)
    elbo = infer.Trace_ELBO(num_particles=2)
    svi = infer.SVI(models.regression, guide, optax.adam(0.05), elbo)
    done = svi.run(jax.random.key(0), 200, progress_bar=False)
    assert jnp.isfinite(done.losses).all()
    assert done.losses[-10:].mean() < done.losses[:10].mean()
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(done.params))
