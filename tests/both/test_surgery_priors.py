"""The aggregated posterior as a distribution, and flows that are fitted to it."""

import math

import jax
import numpy as np
import numpyro
import pyro
import pytest
import torch
from numpyro.infer import SVI, Predictive, Trace_ELBO

from tests.surgery import (
    DISTRIBUTIONS,
    PACKAGES,
    SURGERY,
    array,
    diagonal,
    every_dtype,
    every_wing,
    full,
    numbers,
    standard_normal,
)

N = 12


def sampled(wing, distribution, shape, seed=0):
    if wing == "numpyro":
        return numbers(distribution.sample(jax.random.key(seed), shape))
    torch.manual_seed(seed)
    return numbers(distribution.sample(shape))


def kinds(wing, rng):
    """Posteriors whose aggregate has the same first and second moments."""
    loc, scale = 2 * rng.normal(size=(N, 2)), rng.uniform(0.3, 1, (N, 2))
    factor = scale[:, :, None] * np.eye(2)
    mixed = [diagonal(wing, loc[:5], scale[:5]), full(wing, loc[5:], factor[5:])]
    flow = PACKAGES[wing].realnvp(2, num_layers=2, hidden_dims=(4,))
    flow = flow(jax.random.key(0)) if wing == "numpyro" else flow.double()
    other = PACKAGES[wing].FlowDistribution(flow, diagonal(wing, loc, scale))  # the identity
    made = {"diagonal": diagonal(wing, loc, scale), "full": full(wing, loc, factor),
            "mixed": mixed, "flow": other}  # fmt: skip
    mean = loc.mean(0)
    covariance = np.cov(loc.T, bias=True) + np.diag((scale**2).mean(0))
    return made, mean, covariance


@every_wing
@pytest.mark.parametrize("kind", ["diagonal", "full", "mixed", "flow"])
def test_draws_have_the_mixtures_moments(wing, kind, rng):
    made, mean, covariance = kinds(wing, rng)
    prior = SURGERY[wing].aggregated_posterior(made[kind])
    assert (tuple(prior.batch_shape), tuple(prior.event_shape)) == ((), (2,))
    z = sampled(wing, prior, (3, 4000))
    assert z.shape == (3, 4000, 2)
    z = z.reshape(-1, 2)
    stderr = np.sqrt(np.diag(covariance) / len(z))
    assert (abs(z.mean(0) - mean) < 4 * stderr).all()
    products = ((z - mean)[:, :, None] * (z - mean)[:, None]).reshape(-1, 4)
    spread = products.std(0) / np.sqrt(len(z))
    assert (abs(products.mean(0) - covariance.reshape(-1)) < 4 * spread).all()
    assert len(np.unique(z[:, 0])) == len(z)  # the same row twice gives two draws
    assert sampled(wing, prior, ()).shape == (2,)
    assert sampled(wing, prior, (0,)).shape == (0, 2)


@every_wing
@every_dtype
def test_the_log_density_is_that_of_aggregate_log_prob(wing, dtype, rng):
    posterior = diagonal(wing, rng.normal(size=(N, 2)), 0.5, dtype)
    z = array(wing, rng.normal(size=(4, 3, 2)), dtype)
    found = SURGERY[wing].aggregated_posterior(posterior).log_prob(z)
    assert str(found.dtype).endswith(dtype)
    np.testing.assert_array_equal(
        numbers(found), numbers(SURGERY[wing].aggregate_log_prob(posterior, z))
    )


@every_wing
def test_it_stands_in_a_plate_expands_and_refuses_nan(wing, rng):
    ppl = {"pyro": pyro, "numpyro": numpyro}[wing]
    prior = SURGERY[wing].aggregated_posterior(diagonal(wing, rng.normal(size=(N, 2)), 0.5))

    def model():
        with ppl.plate("data", 5):
            return ppl.sample("z", prior)

    if wing == "numpyro":
        z = numpyro.handlers.seed(model, 0)()
        drawn = Predictive(model, num_samples=7)(jax.random.key(0))["z"]
    else:
        z = model()
        drawn = pyro.infer.Predictive(model, num_samples=7)()["z"]
    assert tuple(z.shape) == (5, 2)
    assert tuple(drawn.shape) == (7, 5, 2)
    wide = prior.expand((5,))
    assert tuple(wide.log_prob(z).shape) == (5,)
    assert tuple(wide.log_prob(z[0]).shape) == (5,)
    assert tuple(prior.expand((3, 5)).log_prob(z).shape) == (3, 5)
    if wing == "pyro":
        with pytest.raises(ValueError, match="Expected value argument"):
            prior.log_prob(torch.full((2,), math.nan))


def test_numpyros_is_a_pytree(rng):
    prior = numpyro_prior(rng)
    z = array("numpyro", rng.normal(size=(3, 2)))
    compiled = jax.jit(lambda prior, z: prior.log_prob(z))
    np.testing.assert_allclose(compiled(prior, z), prior.log_prob(z), atol=1e-6)
    again = jax.jit(lambda p: p)(prior)
    np.testing.assert_allclose(again.log_prob(z), prior.log_prob(z), atol=1e-6)
    draws = jax.jit(lambda prior, key: prior.sample(key, (4,)))(prior, jax.random.key(0))
    np.testing.assert_allclose(draws, prior.sample(jax.random.key(0), (4,)))


def numpyro_prior(rng):
    return SURGERY["numpyro"].aggregated_posterior(
        diagonal("numpyro", rng.normal(size=(N, 2)), 0.5)
    )


@every_wing
def test_a_model_trains_with_it_and_its_marginal_kl_is_zero(wing, rng):
    # z | x ~ N(slope x, 0.5); the prior is what the guide says of all data points.
    x = array(wing, rng.normal(size=(N, 2)))
    dist = DISTRIBUTIONS[wing]
    surgery = SURGERY[wing]
    ppl = {"pyro": pyro, "numpyro": numpyro}[wing]

    def posterior(x):
        slope = ppl.param("slope", array(wing, 0.1))
        return dist.Normal(slope * x, 0.5).to_event(1)

    def model(x):
        prior = surgery.aggregated_posterior(posterior(x))
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", prior)
            ppl.sample("x", dist.Normal(z, 0.3).to_event(1), obs=x)

    def guide(x):
        with ppl.plate("data", len(x)):
            ppl.sample("z", posterior(x))

    if wing == "numpyro":
        svi = SVI(model, guide, numpyro.optim.Adam(0.05), Trace_ELBO())
        result = svi.run(jax.random.key(0), 150, x, progress_bar=False)
        slope, params = float(result.params["slope"]), [result.params]
        keywords = {"rng_key": jax.random.key(1)}
    else:
        pyro.set_rng_seed(0)
        svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), pyro.infer.Trace_ELBO())
        for _ in range(150):
            svi.step(x)
        slope, params, keywords = pyro.param("slope").item(), [], {}
    # Information costs, errors too: with this noise the slope ends near one.
    assert 0.7 < slope < 1.3
    found = surgery.elbo_surgery_of(model, guide, *params, x, num_samples=20, **keywords)
    assert abs(found.marginal_kl.value) < 1e-6


@every_wing
def test_fitting_a_prior_closes_the_marginal_kl(wing, rng):
    # Two clusters, far from N(0, I).
    loc = np.concatenate([rng.normal(3, 0.3, (40, 2)), rng.normal(-2, 0.3, (40, 2))])
    posterior = diagonal(wing, loc, 0.4)
    recipe = PACKAGES[wing].maf(2, num_layers=3, hidden_dims=(16, 16))
    flow = recipe if wing == "numpyro" else recipe.double()
    keywords = {"num_epochs": 60, "learning_rate": 1e-2, "progress": False}
    result = SURGERY[wing].fit_prior(flow, posterior, **keywords)
    by_itself = PACKAGES[wing].FlowDistribution(result.flow)
    exact = SURGERY[wing].aggregate_log_prob
    fresh = SURGERY[wing].aggregated_posterior(posterior)
    draws = array(wing, sampled(wing, fresh, (4000,), seed=5))
    terms = numbers(exact(posterior, draws)) - numbers(by_itself.log_prob(draws))
    stderr = math.hypot(result.marginal_kl_after.stderr, terms.std() / math.sqrt(len(terms)))
    assert abs(terms.mean() - result.marginal_kl_after.value) < 4 * stderr
    before = numbers(exact(posterior, draws)) - numbers(standard_normal(wing, 2).log_prob(draws))
    stderr = math.hypot(result.marginal_kl_before.stderr, before.std() / math.sqrt(len(terms)))
    assert abs(before.mean() - result.marginal_kl_before.value) < 4 * stderr
    assert result.gain > 3
    assert result.marginal_kl_after.value < 0.5
    assert "the ELBO gains" in str(result)
    assert len(result.train_losses) == 60


@every_wing
def test_fits_that_do_not_fit_are_refused(wing, rng):
    posterior = diagonal(wing, rng.normal(size=(N, 2)), 0.4)
    fit = SURGERY[wing].fit_prior
    with pytest.raises(ValueError, match=r"flow: expected event shape \(2,\), as the"):
        fit(PACKAGES[wing].maf(3), posterior)
    with pytest.raises(TypeError, match="flow: expected a Flow"):
        fit("maf", posterior)
    with pytest.raises(ValueError, match=r"prior: expected event shape \(2,\)"):
        fit(PACKAGES[wing].maf(2), posterior, standard_normal(wing, 3))
    with pytest.raises(TypeError, match="prior: expected a distribution, got float"):
        fit(PACKAGES[wing].maf(2), posterior, 1.0)
    with pytest.raises(ValueError, match="num_samples: expected an integer >= 1"):
        fit(PACKAGES[wing].maf(2), posterior, num_samples=0)
    with pytest.raises(ValueError, match="memory_limit"):
        SURGERY[wing].aggregated_posterior(posterior, memory_limit=0)
