"""The eight schools: the published numbers, and reference answers recomputed by quadrature."""

import math

import numpy as np
import pytest

from flowkit_core.datasets import eight_schools

NUM_REFERENCE_DRAWS = 10_000


def test_the_numbers_are_the_published_ones():
    data = eight_schools()
    assert data.y.tolist() == [28, 8, -3, 7, -1, 1, 18, 12]
    assert data.sigma.tolist() == [15, 10, 16, 11, 9, 11, 10, 18]


def test_every_call_gives_arrays_of_its_own():
    eight_schools().y[:] = 0
    assert eight_schools().y[0] == 28


def test_the_reference_cannot_be_changed():
    data = eight_schools()
    with pytest.raises(AttributeError):
        data.log_evidence = 0.0
    with pytest.raises(TypeError):
        data.reference["mu"] = None


def log_normal(x, mean, sd):
    return -0.5 * ((x - mean) / sd) ** 2 - np.log(sd) - 0.5 * math.log(2 * math.pi)


@pytest.fixture(scope="module")
def quadrature():
    """Nodes of mu and tau with log p(y, mu, tau) plus the logarithm of the cell's size.

    theta_j is integrated exactly: y_j ~ N(mu, sigma_j^2 + tau^2). tau = tan(angle) turns the half
    Cauchy's tail into an interval; midpoints converge fast since the integrand is smooth.
    """
    data = eight_schools()
    edges = np.linspace(-45.0, 45.0, 1201)
    mu = (edges[1:] + edges[:-1]) / 2
    angles = np.linspace(0.0, math.pi / 2, 4001)
    angle = (angles[1:] + angles[:-1]) / 2
    tau = 5 * np.tan(angle)
    log_prior = log_normal(mu, 0.0, 5.0)[:, None] + math.log(2 / math.pi)  # uniform in the angle
    log_joint = log_prior + sum(
        log_normal(y, mu[:, None], np.hypot(sigma, tau)[None, :])
        for y, sigma in zip(data.y, data.sigma, strict=True)
    )
    return mu, tau, log_joint + math.log(edges[1] - edges[0]) + math.log(angles[1] - angles[0])


def test_the_log_evidence_is_that_of_quadrature(quadrature):
    _, _, log_cells = quadrature
    top = log_cells.max()
    log_evidence = top + math.log(np.exp(log_cells - top).sum())
    assert log_evidence == pytest.approx(eight_schools().log_evidence, abs=1e-6)


@pytest.mark.parametrize("name", ["mu", "tau"])
def test_the_reference_is_that_of_quadrature_within_its_monte_carlo_error(quadrature, name):
    mu, tau, log_cells = quadrature
    weights = np.exp(log_cells - log_cells.max())
    weights /= weights.sum()
    values, marginal = (mu, weights.sum(1)) if name == "mu" else (tau, weights.sum(0))
    mean = float(marginal @ values)
    sd = math.sqrt(float(marginal @ (values - mean) ** 2))
    kurtosis = float(marginal @ ((values - mean) / sd) ** 4)
    reference = eight_schools().reference[name]
    # Standard errors of a mean and of a standard deviation from that many draws.
    assert abs(reference.mean - mean) < 4 * sd / math.sqrt(NUM_REFERENCE_DRAWS)
    error = sd * math.sqrt((kurtosis - 1) / 4 / NUM_REFERENCE_DRAWS)
    assert abs(reference.sd - sd) < 4 * error
