"""Terms of the ELBO against closed forms, their error bars against many seeds, and bounds."""

import math

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from tests.surgery import (
    PACKAGES,
    array,
    call,
    diagonal,
    every_dtype,
    every_wing,
    full,
    numbers,
    standard_normal,
)

# I of two unit Gaussians at this distance, by quadrature elsewhere.
TWO_GAUSSIANS = {
    0.5: 0.0303113005,
    1: 0.1114214822,
    2: 0.3368308203,
    4: 0.6327201937,
    8: 0.6930536455,
}


@every_wing
@every_dtype
def test_identical_posteriors_tell_nothing(wing, dtype, rng):
    loc, scale = rng.normal(size=4), rng.uniform(0.5, 2, 4)
    posterior = diagonal(wing, np.tile(loc, (50, 1)), scale, dtype)
    found = call(wing, "elbo_surgery", posterior, standard_normal(wing, 4, dtype), num_samples=3)
    assert abs(found.mutual_information.value) < 1e-6
    assert found.marginal_kl.value == pytest.approx(found.avg_kl.value, abs=1e-6)
    bounds = call(wing, "mutual_information", posterior, method="bounds", num_others=7)
    assert abs(bounds.lower.value) < 1e-6
    assert abs(bounds.upper.value) < 1e-6


@every_wing
@every_dtype
def test_isolated_posteriors_tell_everything(wing, dtype, rng):
    loc = 10 * np.arange(50)[:, None] + rng.normal(size=(50, 4))
    posterior = diagonal(wing, loc, 1e-2, dtype)
    found = call(wing, "mutual_information", posterior)
    assert found.value == pytest.approx(math.log(50), abs=1e-6)
    assert found.stderr < 1e-6
    bounds = call(wing, "mutual_information", posterior, method="bounds", num_others=7)
    assert bounds.lower.value == pytest.approx(math.log(8), abs=1e-6)
    assert bounds.upper.value == pytest.approx(math.log(50), abs=1e-6)


@every_wing
@pytest.mark.parametrize("distance", TWO_GAUSSIANS)
def test_two_gaussians_have_the_information_of_their_distance(wing, distance):
    posterior = diagonal(wing, [[0.0], [distance]], 1.0)
    found = call(wing, "mutual_information", posterior, num_samples=20_000)
    assert found.within(TWO_GAUSSIANS[distance], 4)
    assert found.stderr < 5e-3


def test_the_value_for_two_gaussians_is_that_of_quadrature():
    def density(z):
        return 0.5 * (scipy.stats.norm.pdf(z) + scipy.stats.norm.pdf(z - 2))

    def integrand(z):
        return scipy.stats.norm.pdf(z) * (scipy.stats.norm.logpdf(z) - np.log(density(z)))

    value, _ = scipy.integrate.quad(integrand, -12, 14)
    assert value == pytest.approx(TWO_GAUSSIANS[2], abs=1e-9)


def linear_gaussian(rng, n, dim=2):
    """``q(z | x) = N(A x + b, S)`` for n draws of x ~ N(0, I), and the terms for n to infinity."""
    weights, shift = rng.normal(size=(dim, 3)) * 0.5, rng.normal(size=dim) * 0.3
    factor = np.tril(rng.normal(size=(dim, dim)) * 0.2, -1) + 0.8 * np.eye(dim)
    means = rng.normal(size=(n, 3)) @ weights.T + shift
    noise = factor @ factor.T
    marginal = weights @ weights.T + noise
    _, log_marginal = np.linalg.slogdet(marginal)
    _, log_noise = np.linalg.slogdet(noise)
    information = 0.5 * (log_marginal - log_noise)
    kl = 0.5 * (np.trace(marginal) + shift @ shift - dim - log_marginal)
    return means, np.tile(factor, (n, 1, 1)), information, kl


@every_wing
def test_a_linear_gaussian_encoder_has_its_closed_form(wing, rng):
    means, factors, information, kl = linear_gaussian(rng, 4000)
    found = call(wing, "elbo_surgery", full(wing, means, factors), standard_normal(wing, 2))
    # The data are draws, too: the spread between them is what a single draw's error bars hold.
    assert found.mutual_information.within(information, 4)
    assert found.marginal_kl.within(kl, 4)
    # For the given data the average KL is known.
    noise = factors[0] @ factors[0].T
    logdet = np.linalg.slogdet(noise)[1]
    exact = 0.5 * (np.trace(noise) + (means**2).sum(1).mean() - 2 - logdet)
    several = call(wing, "elbo_surgery", full(wing, means, factors), standard_normal(wing, 2),
                   num_samples=4, method="bounds", num_others=1)  # fmt: skip
    assert several.avg_kl.within(exact, 4)
    assert several.avg_kl.stderr < found.avg_kl.stderr / 2


@every_wing
def test_the_true_posterior_of_ppca_has_no_marginal_kl_and_the_elbo_is_the_evidence(wing, rng):
    weights, noise_sd, n = rng.normal(size=(3, 2)), 0.7, 3000
    x = rng.normal(size=(n, 2)) @ weights.T + noise_sd * rng.normal(size=(n, 3))
    precision = np.eye(2) + weights.T @ weights / noise_sd**2
    covariance = np.linalg.inv(precision)
    means = x @ weights @ covariance / noise_sd**2
    factor = np.tile(np.linalg.cholesky(covariance), (n, 1, 1))
    evidence = scipy.stats.multivariate_normal(
        np.zeros(3), weights @ weights.T + noise_sd**2 * np.eye(3)
    ).logpdf(x)

    def log_likelihood(z, rows):
        error = array(wing, x)[rows] - z @ array(wing, weights.T)
        return -0.5 * (error**2).sum(-1) / noise_sd**2 - 1.5 * math.log(2 * math.pi * noise_sd**2)

    found = call(wing, "elbo_surgery", full(wing, means, factor), standard_normal(wing, 2),
                 log_likelihood=log_likelihood, num_samples=2)  # fmt: skip
    information = 0.5 * np.linalg.slogdet(precision)[1]
    # Data are draws: the information of n of them is below that of all by about this.
    assert found.mutual_information.value == pytest.approx(information, abs=0.05)
    assert found.marginal_kl.value == pytest.approx(0, abs=0.05)
    assert found.elbo.value == pytest.approx(evidence.mean(), abs=1e-9)
    assert found.elbo.stderr < 1e-9


@every_wing
@pytest.mark.parametrize("method", ["exact", "bounds"])
def test_the_parts_add_up_to_rounding(wing, method, rng):
    posterior = diagonal(wing, rng.normal(size=(64, 3)), rng.uniform(0.1, 1, (64, 3)))
    found = call(wing, "elbo_surgery", posterior, standard_normal(wing, 3), num_samples=2,
                 method=method, log_likelihood=lambda z, rows: -(z**2).sum(-1))  # fmt: skip
    information, marginal = found.mutual_information, found.marginal_kl
    if method == "bounds":
        sums = [information.lower.value + marginal.upper.value,
                information.upper.value + marginal.lower.value]  # fmt: skip
    else:
        sums = [information.value + marginal.value]
    for total in sums:
        assert total == pytest.approx(found.avg_kl.value, abs=1e-12)
    assert found.elbo.value == pytest.approx(
        found.reconstruction.value - found.avg_kl.value, abs=1e-12
    )


@every_wing
def test_a_bijection_that_all_share_changes_no_information(wing, rng):
    base = diagonal(wing, rng.normal(size=(80, 3)), rng.uniform(0.1, 1, (80, 3)))
    recipe = PACKAGES[wing].realnvp(3, num_layers=4, hidden_dims=(8,))
    flow = recipe(jax.random.key(0)) if wing == "numpyro" else recipe.double()
    if wing == "numpyro":
        flow = jax.tree.map(lambda a: array(wing, rng.normal(size=a.shape) * 0.4), flow)
    else:
        for parameter in flow.parameters():
            parameter.data = array(wing, rng.normal(size=tuple(parameter.shape)) * 0.4)
    warped = PACKAGES[wing].FlowDistribution(flow, base)
    before, after = (call(wing, "mutual_information", p, seed=3) for p in (base, warped))
    # The same draws of the base.
    assert after.value == pytest.approx(before.value, abs=1e-6)


@pytest.mark.parametrize("seeds", [40, pytest.param(200, marks=pytest.mark.slow)])
@every_wing
def test_error_bars_are_right_over_many_seeds(wing, seeds):
    # Of three data points; several draws each, whose spread the error bar tells.
    posterior = diagonal(wing, [[0.0], [1.5], [4.0]], [[1.0], [0.5], [2.0]])
    prior = diagonal(wing, [0.5], [2.0])
    truth = call(wing, "elbo_surgery", posterior, prior, num_samples=100_000, seed=999)
    scores = []
    for seed in range(seeds):
        found = call(wing, "elbo_surgery", posterior, prior, num_samples=100, seed=seed)
        scores.append([
            (getattr(found, name).value - getattr(truth, name).value) / getattr(found, name).stderr
            for name in ("avg_kl", "mutual_information", "marginal_kl")
        ])  # fmt: skip
    scores = np.array(scores)
    # The mean of so many standard scores has an sd of 1 / sqrt(n), their sd one of 1 / sqrt(2 n).
    assert abs(scores.mean(0)).max() < 3.5 / math.sqrt(seeds)
    assert abs(scores.std(0) - 1).max() < 3.5 / math.sqrt(2 * seeds)
    assert (abs(scores) > 3).mean() < 0.02


@pytest.mark.parametrize("seeds", [30, pytest.param(200, marks=pytest.mark.slow)])
@every_wing
def test_bounds_hold_the_exact_value_in_every_case(wing, seeds, rng):
    cases = 0
    for seed in range(seeds):
        sd = 10 ** rng.uniform(-3, 1)
        others = int(rng.integers(1, 16))
        posterior = diagonal(wing, rng.normal(size=(60, 2)), np.full((60, 2), sd))
        exact = call(wing, "mutual_information", posterior, num_samples=32, seed=seed)
        bounds = call(wing, "mutual_information", posterior, method="bounds", num_others=others,
                      num_samples=2, seed=seed)  # fmt: skip
        low, high = bounds.interval()
        assert low - 3 * exact.stderr - 1e-6 <= exact.value <= high + 3 * exact.stderr + 1e-6
        assert bounds.lower.value <= math.log(others + 1) + 1e-9
        cases += bounds.upper.value - bounds.lower.value > 0.01
    assert cases > seeds / 4  # wide intervals and narrow ones


@every_wing
def test_bounds_with_all_others_are_the_exact_value(wing, rng):
    posterior = diagonal(wing, rng.normal(size=(30, 2)), rng.uniform(0.2, 1, (30, 2)))
    exact = call(wing, "mutual_information", posterior, seed=5)
    bounds = call(wing, "mutual_information", posterior, seed=5, method="bounds", num_others=29)
    assert bounds.lower.value == pytest.approx(exact.value, abs=1e-6)
    assert bounds.upper.value == pytest.approx(exact.value, abs=1e-6)


@every_wing
@pytest.mark.parametrize(
    ("sd2", "exact", "low", "high"),
    [(0.25, 3.239, 2.824, 3.551), (0.02, 6.446, 4.121, 6.748), (1e-4, 6.908, 4.159, 6.908)],
)
def test_values_for_a_thousand_posteriors(wing, sd2, exact, low, high, rng):
    posterior = diagonal(wing, rng.normal(size=(1000, 4)), math.sqrt(sd2))
    found = call(wing, "mutual_information", posterior, num_samples=2)
    # Other draws of the means than those of the figures, which moves the value more than the gaps.
    assert found.value == pytest.approx(exact, abs=0.25)
    bounds = call(wing, "mutual_information", posterior, method="bounds", num_others=63)
    assert found.value - bounds.lower.value == pytest.approx(exact - low, abs=0.1)
    assert bounds.upper.value - found.value == pytest.approx(high - exact, abs=0.1)
    assert bounds.contains(found.value)


@every_wing
def test_one_data_point_has_no_information(wing):
    posterior = diagonal(wing, [[1.0, 2.0]], 1.0)
    prior = standard_normal(wing, 2)
    for method in ("exact", "bounds"):
        found = call(wing, "elbo_surgery", posterior, prior, num_samples=500, method=method)
        information = found.mutual_information
        ends = [information] if method == "exact" else [information.lower, information.upper]
        assert [abs(end.value) < 1e-6 for end in ends] == [True] * len(ends)
        assert found.avg_kl.within(2.5, 4)
    alone = call(wing, "elbo_surgery", posterior, prior)
    assert math.isnan(alone.avg_kl.stderr)


@every_wing
def test_surgery_draws_from_its_own_source_alone(wing, rng):
    posterior = diagonal(wing, rng.normal(size=(20, 2)), 0.5)
    prior = standard_normal(wing, 2)
    one, same, other = (
        call(wing, "elbo_surgery", posterior, prior, seed=seed).avg_kl.value for seed in (1, 1, 2)
    )
    assert one == same != other


@every_wing
def test_batches_give_what_one_distribution_gives(wing, rng):
    loc, scale = rng.normal(size=(50, 2)), rng.uniform(0.2, 1, (50, 2))
    whole = diagonal(wing, loc, scale)
    parts = [diagonal(wing, loc[rows], scale[rows]) for rows in (slice(0, 20), slice(20, 50))]
    seen = []

    def log_likelihood(z, rows):
        seen.append((rows, tuple(z.shape)))
        return -((z - array(wing, loc)[rows]) ** 2).sum(-1)

    prior = standard_normal(wing, 2)
    one = call(wing, "elbo_surgery", whole, prior, num_samples=300, log_likelihood=log_likelihood)
    two = call(wing, "elbo_surgery", iter(parts), prior, num_samples=300,
               log_likelihood=log_likelihood)  # fmt: skip
    assert seen == [
        (slice(0, 50), (300, 50, 2)), (slice(0, 20), (300, 20, 2)), (slice(20, 50), (300, 30, 2))
    ]  # fmt: skip
    for name in ("reconstruction", "avg_kl", "mutual_information", "marginal_kl", "elbo"):
        a, b = getattr(one, name), getattr(two, name)
        assert abs(a.value - b.value) < 4 * math.hypot(a.stderr, b.stderr), name
    np.testing.assert_allclose(one.means, loc, atol=1e-12)
    np.testing.assert_allclose(two.means, loc, atol=1e-12)
    assert one.draws.shape == two.draws.shape == (50, 2)
    assert numbers(one.draws).dtype == np.float64
