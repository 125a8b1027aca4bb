"""The synthetic targets: one density in both wings, normalised, with the moments they claim."""

import jax
import numpy as np
import pyro.poutine as poutine
import pytest
import torch
from numpyro.infer.util import log_density
from scipy import integrate, stats

from benchmarks.quality import synthetic, targets_numpyro, targets_pyro

# Older versions of JAX have it elsewhere.
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

RNG = np.random.default_rng(0)


def _exact(name, values):
    """Log-density by scipy."""
    x = values["x"]
    if name.startswith("funnel"):
        v = values["v"]
        return stats.norm.logpdf(v, 0, 3) + stats.norm.logpdf(x, 0, np.exp(v / 2)).sum()
    if name == "banana":
        bent = 0.03 * (x[0] ** 2 - 100)
        return stats.norm.logpdf(x[0], 0, 10) + stats.norm.logpdf(x[1], bent, 1)
    if name == "gaussian_1e4":
        return stats.multivariate_normal.logpdf(x, np.zeros(20), synthetic.covariance())
    if name == "student_t_2.5":
        return stats.t.logpdf(x, 2.5).sum()
    modes = [stats.norm.logpdf(x[0], at) + np.log(w) for at, w in ((-2.5, 0.3), (2.5, 0.7))]
    return np.logaddexp(*modes) + stats.norm.logpdf(x[1:]).sum()


def _values(name):
    dims = {"funnel_10": 9, "funnel_100": 99, "banana": 2, "gaussian_1e4": 20}
    values = {"x": RNG.normal(size=dims.get(name, 5))}
    return {**values, "v": np.array(RNG.normal())} if name.startswith("funnel") else values


def _by_numpyro(model, values):
    with enable_x64(True):
        return float(log_density(model, (), {}, values)[0])


def _by_pyro(model, values):
    data = {name: torch.tensor(value) for name, value in values.items()}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        trace = poutine.trace(poutine.condition(model, data=data)).get_trace()
        return float(trace.log_prob_sum())
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", synthetic.ABOUT)
def test_wings_agree_with_scipy(name):
    for _ in range(2):
        values = _values(name)
        expected = _exact(name, values)
        by_numpyro = _by_numpyro(targets_numpyro.MODELS[name], values)
        by_pyro = _by_pyro(targets_pyro.MODELS[name], values)
        np.testing.assert_allclose([by_numpyro, by_pyro], expected, rtol=1e-9)


def test_both_wings_have_every_target():
    assert list(targets_pyro.MODELS) == list(targets_numpyro.MODELS) == list(synthetic.ABOUT)
    assert set(synthetic.CHOSEN_BASE) < set(synthetic.ABOUT)


# In small dimensions: more coordinates are factors that integrate to one just the same.
@pytest.mark.parametrize(
    ("model", "site", "half_width"),
    [
        (targets_pyro.student_t(1), "x", 3e5),  # its tail beyond holds 1e-13
        (targets_pyro.two_modes(1), "x", 12),
    ],
)
def test_densities_of_one_coordinate_integrate_to_one(model, site, half_width):
    def density(t):
        return np.exp(_by_pyro(model, {site: np.array([np.sinh(t)])})) * np.cosh(t)

    edge = np.arcsinh(half_width)
    mass, _ = integrate.quad(density, -edge, edge, limit=200, epsabs=1e-7)
    assert mass == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["banana", "funnel"])
def test_densities_of_two_coordinates_integrate_to_one_with_the_moments_they_claim(name):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        mass, first, square = _grid(name)
    finally:
        torch.set_default_dtype(before)
    assert mass == pytest.approx(1, abs=1e-6)
    answers = synthetic.problem("banana" if name == "banana" else "funnel_10")
    np.testing.assert_allclose(first, answers.location, atol=1e-5)
    np.testing.assert_allclose(square**0.5, answers.scale, rtol=1e-5)


def _grid(name):
    """Mass, means and second moments, by a sum over a grid, all points in one call."""
    count = 1201
    t = np.linspace(-7, 7, count)
    one = 10 * t if name == "banana" else 3 * t
    if name == "banana":
        other = np.linspace(-12, 150, 3 * count)
        a, b = np.meshgrid(one, other, indexing="ij")
        weight = (one[1] - one[0]) * (other[1] - other[0])
        data = {"x": torch.tensor(np.stack([a, b], -1))}
        model, points = targets_pyro.banana, (a, b)
    else:
        # In units of the scale that v gives to x, or no grid would do for all v.
        a, b = np.meshgrid(one, np.linspace(-8, 8, count), indexing="ij")
        weight = (one[1] - one[0]) * (16 / (count - 1)) * np.exp(a / 2)
        data = {"v": torch.tensor(a), "x": torch.tensor(b * np.exp(a / 2))[..., None]}
        model, points = targets_pyro.funnel(2), (a,)
    trace = poutine.trace(poutine.condition(model, data=data)).get_trace()
    trace.compute_log_prob()
    log_density = sum(site["log_prob"] for site in trace.nodes.values() if site["type"] == "sample")
    mass = np.exp(log_density.numpy()) * weight
    first = np.array([(mass * p).sum() for p in points])
    return mass.sum(), first, np.array([(mass * p**2).sum() for p in points]) - first**2


def test_answers_of_the_others_are_those_of_draws_of_theirs():
    rng = np.random.default_rng(1)
    n = 200_000
    modes = rng.normal(size=(n, 5))
    modes[:, 0] += np.where(rng.random(n) < 0.7, 2.5, -2.5)
    answers = synthetic.problem("two_modes")
    np.testing.assert_allclose(modes.mean(0), answers.location, atol=0.02)
    np.testing.assert_allclose(modes.std(0), answers.scale, rtol=0.01)
    below, above = np.quantile(stats.t.rvs(2.5, size=n, random_state=rng), stats.norm.cdf([-1, 1]))
    answers = synthetic.problem("student_t_2.5")
    np.testing.assert_allclose((above - below) / 2, answers.scale, rtol=0.02)
    variances = np.linalg.eigvalsh(synthetic.covariance())
    assert variances[-1] / variances[0] == pytest.approx(1e4)
