"""Guides against a posterior that is Normal and known in closed form."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
from numpyro.infer import SVI, Trace_ELBO

import numpyro_flowkit as fk
from tests.numpyro import models
from tests.numpyro.models import FLOW, GUIDES, SMALL, call, large, started
from tests.numpyro.normal_guides import every_guide

MEAN, COVARIANCE = models.regression_posterior()
SD = np.sqrt(np.diag(COVARIANCE))
FRAME = "layers.2."  # the layer that training leaves alone
POSTERIOR = dist.MultivariateNormal(MEAN, COVARIANCE)


def exact_weights():
    """Arrays of a linear flow guide that make it the posterior itself."""
    # With Q = I the layer is upper triangular: covariance = R R^T, Cholesky from the other end.
    upper = np.linalg.cholesky(COVARIANCE[::-1, ::-1])[::-1, ::-1]
    scale = np.exp([0.3, -0.2])  # shared out between the two layers
    return {
        "layers.0.reflections": np.zeros((2, 2)),
        "layers.0.upper": upper / scale[:, None],
        "layers.0.log_diagonal": np.log(np.diag(upper) / scale),
        "layers.0.shift": np.array([0.5, -1.0]) / scale,
        "layers.1.lower": np.zeros((2, 2)),
        "layers.1.log_diagonal": np.log(scale),
        "layers.1.shift": MEAN - np.array([0.5, -1.0]),
        "layers.2.lower": np.zeros((2, 2)),
        "layers.2.log_diagonal": np.zeros(2),
        "layers.2.shift": np.zeros(2),
    }


@pytest.fixture(scope="module")
def exact():
    """A linear flow guide and the parameters at which it is the posterior."""
    guide = fk.AutoFlow(models.regression, fk.qr_linear, base="normal")
    start = call(guide)[2][FLOW]
    return guide, {FLOW: fk.build(start.spec, exact_weights())}


def test_the_exact_guide_has_the_density_of_the_posterior(exact, rng):
    guide, params = exact
    x = rng.normal(size=(10, 2)) + MEAN
    np.testing.assert_allclose(
        guide.get_posterior(params).log_prob(x), POSTERIOR.log_prob(x), rtol=1e-10
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_elbo_of_the_exact_guide_is_the_evidence_for_every_draw(exact, seed):
    guide, params = exact
    loss = Trace_ELBO().loss(jax.random.key(seed), params, models.regression, guide)
    assert -loss == pytest.approx(models.regression_evidence(), abs=1e-10)


@pytest.mark.parametrize("level", [0.05, 0.25, 0.5, 0.75, 0.95])
def test_quantiles_of_the_exact_guide_are_those_of_the_posterior(exact, level):
    guide, params = exact
    normal = dist.Normal(MEAN, SD)
    expected = normal.icdf(level)
    got = guide.quantiles(params, [level])["weights"][0]
    # Standard error of a quantile from 10,000 draws: sqrt(p (1 - p) / n) / density; four of them.
    error = math.sqrt(level * (1 - level) / 10_000) / jnp.exp(normal.log_prob(expected))
    assert (jnp.abs(got - expected) < 4 * error).all()


def assert_moments_of_the_posterior(draws, *, slack=0.0):
    """Mean and covariance within four standard errors and a fraction ``slack`` of the sds."""
    n = len(draws)
    assert (np.abs(draws.mean(0) - MEAN) < (4 / math.sqrt(n) + slack) * SD).all()
    # Var of an entry of the sample covariance: (c_ii c_jj + c_ij^2) / n.
    products = SD[:, None] * SD
    error = np.sqrt(products**2 + COVARIANCE**2) / math.sqrt(n)
    assert (np.abs(np.cov(draws.T) - COVARIANCE) < 4 * error + 2 * slack * products).all()


def test_draws_of_the_exact_guide_have_the_posteriors_moments(exact):
    guide, params = exact
    draws = guide.sample_posterior(jax.random.key(2), params, sample_shape=(20_000,))
    assert_moments_of_the_posterior(np.asarray(draws["weights"]))


TRAINED = {
    **{name: functools.partial(guide, **SMALL) for name, guide in GUIDES.items()},
    "lu_linear": functools.partial(fk.AutoFlow, flow=fk.lu_linear),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "realnvp" else n for n in TRAINED]
)
def test_training_finds_the_posterior(name):
    guide = TRAINED[name](models.regression)
    steps = 300
    rate = optax.exponential_decay(0.05, steps, 0.01)
    elbo = Trace_ELBO(num_particles=32)
    svi = SVI(models.regression, guide, optax.adam(rate), elbo)
    params = svi.run(jax.random.key(0), steps, progress_bar=False).params
    posterior = guide.get_posterior(params)
    draws = posterior.sample(jax.random.key(1), (10_000,))
    difference = posterior.log_prob(draws) - POSTERIOR.log_prob(draws)
    kl, error = difference.mean(), difference.std() / 100
    # A mean that is off by 0.05 sd in both coordinates costs 0.0025 nats.
    assert -4 * error < kl < 0.0025 + 4 * error
    assert_moments_of_the_posterior(np.asarray(draws), slack=0.05)


@every_guide
def test_gradients_reach_every_weight(name):
    guide, params = started(name, models.hierarchy)
    params = large(params)

    @jax.jit
    @jax.grad
    def gradient(params):
        return Trace_ELBO().loss(jax.random.key(0), params, models.hierarchy, guide)

    found = gradient(params)[FLOW]
    assert isinstance(found, fk.Flow)
    for array_name, values in found.named_arrays().items():
        assert jnp.isfinite(values).all(), array_name
        assert (values != 0).any() != array_name.startswith(FRAME), array_name


@every_guide
def test_training_moves_every_weight_from_the_start(name):
    guide = GUIDES[name](models.hierarchy, **SMALL)
    svi = SVI(models.hierarchy, guide, optax.adam(0.05), Trace_ELBO())
    before = svi.get_params(svi.init(jax.random.key(0)))[FLOW].named_arrays()
    after = svi.run(jax.random.key(0), 5, progress_bar=False).params[FLOW].named_arrays()
    still = {k for k in before if (before[k] == after[k]).all()}
    assert still == {k for k in before if k.startswith(FRAME)}
