"""NeuTra: NUTS in the coordinates of a flow guide."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS
from numpyro.infer.reparam import NeuTraReparam
from numpyro.infer.util import log_density

from tests.numpyro import models
from tests.numpyro.models import FLOW, GUIDES, call, large, started
from tests.numpyro.normal_guides import every_guide


def bent(name, model, seed=0):
    """A guide and parameters away from the identity, gently enough for a short chain."""
    guide, params = started(name, model, init_scale=0.5)
    change = large(params, seed=seed)
    return guide, jax.tree.map(lambda a, b: a + 0.1 * b, params, change)


def run(neutra, model, num_warmup, num_samples):
    kernel = NUTS(neutra.reparam(model), max_tree_depth=5)
    mcmc = MCMC(kernel, num_warmup=num_warmup, num_samples=num_samples, progress_bar=False)
    mcmc.run(jax.random.key(1))
    return mcmc.get_samples()


@every_guide
def test_the_reparametrised_model_has_the_same_density(name):
    guide, params = bent(name, models.hierarchy)
    model = NeuTraReparam(guide, params).reparam(models.hierarchy)
    z = jax.random.normal(jax.random.key(3), (5,))
    got, trace = log_density(model, (), {}, {"auto_shared_latent": z})
    theta, log_det = guide.get_transform(params).forward_and_log_det(z)
    mu, log_tau, local = theta[0], theta[1], theta[2:]  # by name: mu, tau, theta
    values = {"mu": mu, "tau": jnp.exp(log_tau), "theta": local}
    expected = log_density(models.hierarchy, (), {}, values)[0] + log_tau + log_det
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    assert sorted(
        n for n, s in trace.items() if s["type"] == "sample" and not s["is_observed"]
    ) == ["auto_shared_latent"]


@every_guide
def test_transform_sample_goes_back_to_the_model(name):
    guide, params = bent(name, models.derived)
    z = jax.random.normal(jax.random.key(3), (4, 3, 2))
    values = NeuTraReparam(guide, params).transform_sample(z)
    theta = params[FLOW](z)
    np.testing.assert_allclose(values["mu"], theta[..., 0], rtol=1e-12)
    np.testing.assert_allclose(values["tau"], jnp.exp(theta[..., 1]), rtol=1e-12)
    np.testing.assert_allclose(values["ratio"], values["mu"] / values["tau"], rtol=1e-12)


def test_the_shared_latent_carries_the_guides_prefix():
    guide = GUIDES["iaf"](models.hierarchy, prefix="mine", num_layers=1, hidden_dims=(4,))
    params = call(guide)[2]
    model = NeuTraReparam(guide, params).reparam(models.hierarchy)
    with handlers.seed(rng_seed=0), handlers.trace() as trace:
        model()
    assert trace["mine_shared_latent"]["value"].shape == (5,)


def test_nuts_through_a_flow_finds_the_posterior():
    guide, params = bent("realnvp", models.regression)
    neutra = NeuTraReparam(guide, params)
    draws = run(neutra, models.regression, num_warmup=200, num_samples=1000)
    weights = np.asarray(neutra.transform_sample(draws["auto_shared_latent"])["weights"])
    # Sums of terms of order one may come out near zero, where only their last digits are left.
    np.testing.assert_allclose(draws["weights"], weights, rtol=1e-12, atol=1e-15)
    mean, covariance = models.regression_posterior()
    sd = np.sqrt(np.diag(covariance))
    effective = effective_sample_size(weights[None])
    assert (effective > 200).all()
    # Five standard errors; that of a ratio of sds of Normal draws is 1 / sqrt(2 n).
    assert (np.abs(weights.mean(0) - mean) < 5 * sd / np.sqrt(effective)).all()
    squares = effective_sample_size(((weights - mean) ** 2)[None])
    assert (np.abs(weights.std(0) / sd - 1) < 5 / np.sqrt(2 * squares)).all()


@pytest.mark.parametrize("name", [pytest.param("maf", marks=pytest.mark.slow), "iaf"])
def test_nuts_samples_and_keeps_deterministic_sites(name):
    guide, params = bent(name, models.derived)
    neutra = NeuTraReparam(guide, params)
    draws = run(neutra, models.derived, num_warmup=4, num_samples=6)
    values = neutra.transform_sample(draws["auto_shared_latent"])
    assert sorted(values) == ["mu", "ratio", "tau"]
    for site, value in values.items():
        assert value.shape == (6,)
        np.testing.assert_allclose(draws[site], value, rtol=1e-12)
    assert len(np.unique(draws["mu"])) > 1
