"""Guides against a posterior that is Normal and known in closed form."""

import math

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

import pyro_flowkit as fk
from tests.pyro import models
from tests.pyro import normal_guides as normal
from tests.pyro.helpers import SMALL

MEAN, COVARIANCE = models.regression_posterior()
SD = COVARIANCE.diagonal().sqrt()


def exact_guide():
    """A linear flow guide whose weights make it the posterior itself."""
    guide = fk.AutoFlow(models.regression, fk.qr_linear, base="normal")
    guide()
    inner, affine, _ = guide.get_transform().layers
    # With Q = I the layer is upper triangular: covariance = R R^T, Cholesky from the other end.
    upper = torch.linalg.cholesky(COVARIANCE.flip(0, 1)).flip(0, 1)
    with torch.no_grad():
        inner.reflections.zero_()
        inner.upper.copy_(upper)
        inner.log_diagonal.copy_(upper.diagonal().log())
        inner.shift.zero_()
        affine.log_diagonal.zero_()
        affine.shift.copy_(MEAN)
    return guide


def test_the_exact_guide_has_the_density_of_the_posterior():
    x = torch.randn(10, 2) + MEAN.float()
    expected = torch.distributions.MultivariateNormal(MEAN, COVARIANCE).log_prob(x.double())
    torch.testing.assert_close(
        exact_guide().get_posterior().log_prob(x).double(), expected, rtol=1e-5, atol=1e-5
    )


def test_the_elbo_of_the_exact_guide_does_not_vary():
    elbo = Trace_ELBO()
    losses = torch.tensor([elbo.loss(models.regression, exact_guide()) for _ in range(5)])
    assert losses.std() < 1e-4


@pytest.mark.parametrize("level", [0.05, 0.25, 0.5, 0.75, 0.95])
def test_quantiles_of_the_exact_guide_are_those_of_the_posterior(level):
    normal = torch.distributions.Normal(MEAN, SD)
    expected = normal.icdf(torch.tensor(level).double())
    got = exact_guide().quantiles([level])["weights"][0].double()
    # Standard error of a quantile from 10,000 draws: sqrt(p (1 - p) / n) / density; four of them.
    error = math.sqrt(level * (1 - level) / 10_000) / normal.log_prob(expected).exp()
    assert ((got - expected).abs() < 4 * error).all()


def test_draws_of_the_exact_guide_have_the_posteriors_moments():
    n = 20_000
    draws = exact_guide().sample_posterior(n, generator=torch.Generator().manual_seed(2))
    draws = draws["weights"].double()
    assert ((draws.mean(0) - MEAN).abs() < 4 * SD / math.sqrt(n)).all()
    # Var of an entry of the sample covariance: (c_ii c_jj + c_ij^2) / n.
    error = ((SD[:, None] * SD[None, :]) ** 2 + COVARIANCE**2).sqrt() / math.sqrt(n)
    assert ((draws.T.cov() - COVARIANCE).abs() < 4 * error).all()


@pytest.mark.parametrize("guide_type", [normal.AutoMAF, normal.AutoIAF, normal.AutoRealNVP])
def test_training_finds_the_posterior(guide_type):
    guide = guide_type(models.regression, **SMALL)
    steps = 250
    optimizer = pyro.optim.ExponentialLR(
        {
            "optimizer": torch.optim.Adam,
            "optim_args": {"lr": 0.05},
            "gamma": 0.02 ** (1 / steps),
        }
    )
    elbo = Trace_ELBO(num_particles=32, vectorize_particles=True)
    svi = SVI(models.regression, guide, optimizer, elbo)
    for _ in range(steps):
        svi.step()
        optimizer.step()
    draws = guide.sample_posterior(10_000, generator=torch.Generator().manual_seed(2))
    draws = draws["weights"].double()
    assert ((draws.mean(0) - MEAN).abs() < 0.1 * SD).all()
    assert ((draws.std(0) / SD - 1).abs() < 0.1).all()
    correlation = COVARIANCE[0, 1] / SD.prod()
    assert abs(float(draws.T.corrcoef()[0, 1] - correlation)) < 0.1
