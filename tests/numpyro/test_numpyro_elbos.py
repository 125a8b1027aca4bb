"""Flow guides under every ELBO of NumPyro, and under JAX's transformations of SVI."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro import handlers, infer
from numpyro.contrib.funsor import config_enumerate
from numpyro.infer.autoguide import AutoDiagonalNormal

from tests.numpyro import models
from tests.numpyro import normal_guides as normal
from tests.numpyro.models import FLOW, GUIDES, SMALL, assert_same_leaves, call, started
from tests.numpyro.normal_guides import every_guide

KEY = jax.random.key(4)
THIN = {"num_layers": 1, "hidden_dims": (8,)}  # where the flow itself is not the matter


def inference(guide, elbo=None):
    """SVI with a guide that has met its model."""
    call(guide)
    elbo = infer.Trace_ELBO(num_particles=4) if elbo is None else elbo
    return infer.SVI(models.hierarchy, guide, optax.adam(0.02), elbo)


def assert_lowers_the_loss(svi, *args):
    losses = svi.run(KEY, 40, *args, progress_bar=False).losses
    assert jnp.isfinite(losses).all()
    assert losses[-10:].mean() < losses[:10].mean()


@every_guide
def test_trace_elbo_lowers_the_loss(name):
    assert_lowers_the_loss(inference(GUIDES[name](models.hierarchy, **SMALL)))


ELBOS = {
    "one particle": infer.Trace_ELBO,
    "TraceMeanField_ELBO": lambda: infer.TraceMeanField_ELBO(num_particles=4),
    "RenyiELBO": lambda: infer.RenyiELBO(alpha=0.5, num_particles=4),
    "TraceGraph_ELBO": lambda: infer.TraceGraph_ELBO(num_particles=4),
}


@pytest.mark.parametrize("elbo", ELBOS)
def test_every_elbo_lowers_the_loss(elbo):
    guide = normal.AutoRealNVP(models.hierarchy, **THIN)
    assert_lowers_the_loss(inference(guide, ELBOS[elbo]()))


def mixture(data):
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(2)))
    locs = numpyro.sample("locs", dist.Normal(jnp.zeros(2), 3.0).to_event(1))
    with numpyro.plate("rows", len(data)):
        which = numpyro.sample("which", dist.Categorical(weights), infer={"enumerate": "parallel"})
        numpyro.sample("x", dist.Normal(locs[which], 1.0), obs=data)


@pytest.mark.slow
def test_enumerated_discrete_latents_stay_out_of_the_guide():
    data = np.array([-3.0, -2.5, 2.0, 3.0, 2.5])
    model = config_enumerate(mixture)
    guide = normal.AutoIAF(handlers.block(mixture, hide=["which", "x"]), **SMALL)
    call(guide, data)
    elbo = infer.TraceEnum_ELBO(max_plate_nesting=1, num_particles=4)
    assert_lowers_the_loss(infer.SVI(model, guide, optax.adam(0.02), elbo), data)


def test_particles_mapped_one_by_one_give_the_same_numbers():
    guide, params = started("maf", models.regression)

    def loss_and_gradient(vectorize_particles):
        elbo = infer.Trace_ELBO(4, vectorize_particles)

        def loss(params):
            return elbo.loss(KEY, params, models.regression, guide)

        return jax.jit(jax.value_and_grad(loss))(params)

    one, two = map(loss_and_gradient, (True, False))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@every_guide
def test_an_untrained_guide_has_the_elbo_of_a_diagonal_normal(name):
    normal = AutoDiagonalNormal(models.hierarchy, init_loc_fn=infer.init_to_median)
    guide, params = started(name, models.hierarchy)
    # The same key draws the same z in both, so the two losses are the same number.
    losses = [
        jax.jit(lambda p, g=each: infer.Trace_ELBO().loss(KEY, p, models.hierarchy, g))(given)
        for each, given in ((guide, params), (normal, call(normal)[2]))
    ]
    assert losses[0] == pytest.approx(float(losses[1]), rel=1e-10)


def test_steps_under_jit_equal_a_scan_of_steps():
    svi = inference(normal.AutoRealNVP(models.hierarchy, **THIN))
    scanned = svi.run(KEY, 5, progress_bar=False)
    update, state, losses = jax.jit(svi.update), svi.init(KEY), []
    for _ in range(5):
        state, loss = update(state)
        losses.append(loss)
    np.testing.assert_allclose(losses, scanned.losses, rtol=1e-10)
    assert update._cache_size() == 1


@pytest.mark.slow
def test_seeds_can_be_mapped_over():
    svi = inference(normal.AutoIAF(models.hierarchy, **THIN))
    keys = jax.random.split(KEY, 3)

    def run(key):
        done = svi.run(key, 5, progress_bar=False)
        return done.params[FLOW], done.losses

    flows, losses = jax.vmap(run)(keys)
    assert flows.batch_shape == (3,)
    flow, expected = run(keys[1])
    np.testing.assert_allclose(losses[1], expected, rtol=1e-9)
    for one, of_many in zip(jax.tree.leaves(flow), jax.tree.leaves(flows), strict=True):
        np.testing.assert_allclose(of_many[1], one, rtol=1e-7, atol=1e-9)


def test_a_guide_may_meet_its_model_under_jit():
    guide = normal.AutoIAF(models.hierarchy, **SMALL)
    svi = infer.SVI(models.hierarchy, guide, optax.adam(0.02), infer.Trace_ELBO())
    params = svi.get_params(jax.jit(svi.init)(KEY))
    draws = guide.sample_posterior(KEY, params, sample_shape=(3,))
    assert draws["theta"].shape == (3, 3)
    assert jnp.isfinite(draws["theta"]).all()


def spoilt(spoil):
    """A model whose log-density is NaN on demand."""
    models.hierarchy()
    numpyro.factor("spoil", jnp.where(spoil, jnp.nan, 0.0))


def test_stable_updates_leave_out_steps_that_are_not_finite():
    guide = normal.AutoRealNVP(spoilt, **THIN)
    call(guide, False)
    svi = infer.SVI(spoilt, guide, optax.adam(0.02), infer.Trace_ELBO())
    update, stable = jax.jit(svi.update), jax.jit(svi.stable_update)
    state = svi.init(KEY, False)
    expected, got = update(state, False), stable(state, False)
    assert expected[1] == got[1]
    assert_same_leaves(svi.get_params(expected[0]), svi.get_params(got[0]))
    after, loss = stable(got[0], True)
    assert jnp.isnan(loss)
    assert_same_leaves(svi.get_params(after), svi.get_params(got[0]))


@every_guide
def test_predictive_draws_through_a_guide(name):
    guide, params = started(name, models.hierarchy)
    predictive = infer.Predictive(models.hierarchy, guide=guide, params=params, num_samples=6)
    draws = predictive(KEY)
    assert {k: v.shape for k, v in draws.items()} == {"y": (6, 3)}
    latents = infer.Predictive(guide, params=params, num_samples=6)(KEY)
    assert {k: v.shape for k, v in latents.items() if k != "_auto_latent"} == {
        "mu": (6,), "tau": (6,), "theta": (6, 3)
    }  # fmt: skip
