"""Latent by latent, and held-out likelihoods, in both wings."""

import json
import math

import numpy as np
import numpyro
import pyro
import pytest
import scipy.stats

from tests.surgery import (
    DISTRIBUTIONS,
    SURGERY,
    array,
    call,
    diagonal,
    every_wing,
    full,
    randomness,
    standard_normal,
)


@every_wing
@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_latents_of_a_linear_gaussian_encoder_have_their_closed_form(wing, kind, rng):
    n = 3000
    mixing = np.array([[0.9, 0.0], [0.7, 0.4]])
    factor = np.diag([0.6, 0.5]) if kind == "diagonal" else np.array([[0.6, 0.0], [0.3, 0.4]])
    means = rng.normal(size=(n, 2)) @ mixing.T + [0.5, 0.0]
    noise = factor @ factor.T
    marginal = mixing @ mixing.T + noise
    sds = np.sqrt(np.diag(marginal))
    correlation = np.log(np.linalg.det(marginal / np.outer(sds, sds)))
    posterior = (
        diagonal(wing, means, np.diag(factor))
        if kind == "diagonal"
        else full(wing, means, np.tile(factor, (n, 1, 1)))
    )
    found = call(wing, "latent_surgery", posterior, standard_normal(wing, 2))
    assert found.total_correlation.within(-0.5 * correlation, 4)
    exact = 0.5 * (sds**2 + np.array([0.5, 0.0]) ** 2 - 1 - 2 * np.log(sds))
    own_sds = np.sqrt(np.diag(noise))
    average = 0.5 * (own_sds**2 + (means**2).mean(0) - 1 - 2 * np.log(own_sds))
    for d in range(2):
        assert found.marginal_kl[d].within(exact[d], 4)
        assert found.avg_kl[d].within(average[d], 4)
    np.testing.assert_allclose(found.variances, means.var(0))


@every_wing
def test_the_parts_add_up_to_the_marginal_kl(wing, rng):
    posterior = diagonal(wing, rng.normal(size=(60, 3)), rng.uniform(0.1, 1, (60, 3)))
    prior = diagonal(wing, np.zeros(3), np.array([1.0, 2.0, 0.5]))
    found = call(wing, "latent_surgery", posterior, prior, num_samples=2000, seed=1)
    whole = call(wing, "elbo_surgery", posterior, prior, num_samples=2000, seed=1)
    parts = found.total_correlation.value + sum(one.value for one in found.marginal_kl)
    spread = 4 * math.hypot(whole.marginal_kl.stderr, found.total_correlation.stderr)
    assert abs(parts - whole.marginal_kl.value) < spread + 1e-6
    averages = sum(one.value for one in found.avg_kl)
    assert abs(averages - whole.avg_kl.value) < 4 * whole.avg_kl.stderr
    assert found.total_correlation.value > 0


@every_wing
def test_latents_that_the_data_do_not_move_are_not_active(wing, rng):
    means = rng.normal(size=(100, 3)) * [1.0, 0.05, 0.0]
    found = call(wing, "latent_surgery", diagonal(wing, means, 0.5), standard_normal(wing, 3))
    assert found.active == (True, False, False)
    assert found.num_active == 1
    lines = str(found).splitlines()
    assert "1 of 3 latents active" in lines[0]
    assert [line.split()[-1] for line in lines[2:]].count("yes") == 1
    assert json.loads(json.dumps(found.to_dict()))["num_active"] == 1


@every_wing
def test_latents_that_cannot_be_told_apart_are_refused(wing, rng):
    dist = DISTRIBUTIONS[wing]
    posterior = diagonal(wing, rng.normal(size=(10, 2)), 0.5)
    correlated = dist.MultivariateNormal(
        array(wing, np.zeros(2)), scale_tril=array(wing, np.eye(2))
    )
    with pytest.raises(TypeError, match=r"prior: expected a prior of independent latents.*Multi"):
        call(wing, "latent_surgery", posterior, correlated)
    with pytest.raises(TypeError, match="prior: expected a distribution, got float"):
        call(wing, "latent_surgery", posterior, 1.0)
    skewed = dist.LogNormal(array(wing, np.zeros((10, 2))), 1.0).to_event(1)
    with pytest.raises(TypeError, match="posterior: expected Gaussian posteriors"):
        call(wing, "latent_surgery", skewed, standard_normal(wing, 2))


def linear(wing, offset=0.0):
    """``z ~ N(0, 1)``, ``x ~ N(z, 1)``, and a guide that misses the posterior by an offset."""
    ppl, dist = {"pyro": pyro, "numpyro": numpyro}[wing], DISTRIBUTIONS[wing]

    def model(x):
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", dist.Normal(array(wing, np.zeros(1)), 1.0).to_event(1))
            ppl.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with ppl.plate("data", len(x)):
            ppl.sample("z", dist.Normal(x / 2 + offset, 0.5**0.5).to_event(1))

    return model, guide


def bound(wing, offset, x, num_particles, **keywords):
    params = [{}] if wing == "numpyro" else []
    return SURGERY[wing].importance_log_likelihood_of(
        *linear(wing, offset), *params, array(wing, x), num_particles=num_particles,
        **randomness(wing, 0), **keywords,
    )  # fmt: skip


@every_wing
def test_the_exact_posterior_gives_the_likelihood_with_any_number_of_particles(wing, rng):
    x = math.sqrt(2) * rng.normal(size=(50, 1))
    exact = scipy.stats.norm(0, math.sqrt(2)).logpdf(x)
    found = bound(wing, 0.0, x, 3, batch_size=20)
    assert found.value == pytest.approx(exact.mean(), abs=1e-9)
    assert found.stderr == pytest.approx(exact.std(ddof=1) / math.sqrt(50), abs=1e-9)


@every_wing
def test_more_particles_close_the_gap(wing, rng):
    x = math.sqrt(2) * rng.normal(size=(200, 1))
    exact = scipy.stats.norm(0, math.sqrt(2)).logpdf(x).mean()
    one, some, many = (bound(wing, 0.7, x, count).value for count in (1, 10, 400))
    assert one < some < many
    assert many == pytest.approx(exact, abs=0.02)
    assert one < exact - 0.2


@every_wing
def test_particles_and_data_out_of_range_are_refused(wing, rng):
    with pytest.raises(ValueError, match="num_particles: expected an integer >= 1"):
        bound(wing, 0.0, rng.normal(size=(3, 1)), 0)
    with pytest.raises(ValueError, match="data: expected at least one data point"):
        bound(wing, 0.0, np.zeros((0, 1)), 2)
