"""Where a posterior is and how wide, against densities for which both are known."""

import math

import numpy as np
import pytest

from flowkit_core.guide_layers import MAX_TRIANGULAR_DIM
from flowkit_core.warm_start import METHODS, Gaussian, find_gaussian, mean_field

LOG_TAU = math.log(2 * math.pi)


class Density:
    """A target from a function of one point that gives log-density, gradient and Hessian.

    Args:
        function: of a point (D,).
        rounded: whether it computes in single precision, as far as what it tells of goes.
    """

    def __init__(self, function, *, rounded=False):
        self.function, self.rounded = function, rounded
        self.eps = float(np.finfo(np.float32 if rounded else np.float64).eps)

    def _told(self, values):
        return np.asarray(values, np.float32 if self.rounded else np.float64).astype(np.float64)

    def log_densities(self, points):
        return self._told([self.function(self._told(point))[0] for point in points])

    def value_and_gradient(self, point):
        value, gradient, _ = self.function(self._told(point))
        return float(self._told(value)), self._told(gradient)

    def hessian(self, point):
        return self._told(self.function(self._told(point))[2])


def gaussian(loc, covariance, height=0.0):
    """A Gaussian; its normaliser is e^height."""
    precision = np.linalg.inv(covariance)
    log_norm = -0.5 * (len(loc) * LOG_TAU + np.linalg.slogdet(covariance)[1]) + height

    def function(x):
        pull = precision @ (loc - x)
        return log_norm + 0.5 * (x - loc) @ pull, pull, -precision

    return function


def mixture(*parts):
    """The sum of densities; derivatives by the chain rule."""

    def function(x):
        values, gradients, hessians = zip(*(part(x) for part in parts), strict=True)
        top = max(values)
        shares = np.exp(np.array(values) - top)
        total = shares.sum()
        shares = shares / total
        gradient = sum(s * g for s, g in zip(shares, gradients, strict=True))
        second = sum(s * (h + np.outer(g, g))
                     for s, g, h in zip(shares, gradients, hessians, strict=True))  # fmt: skip
        return top + math.log(total), gradient, second - np.outer(gradient, gradient)

    return function


def stiff(dim=6, condition=1e8):
    """Correlated, with eigenvalues over 8 orders, then scales of 1e-3 to 1e3 on top."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    correlated = turn @ np.diag(np.geomspace(1, 1e2, dim)) @ turn.T
    scales = np.geomspace(1e-3, 1e3, dim)
    covariance = correlated * np.outer(scales, scales)
    assert np.linalg.cond(covariance) > condition
    return rng.normal(size=dim) * scales * 3, covariance


def starts(dim, count=4, seed=0):
    return list(np.random.default_rng(seed).uniform(-2, 2, size=(count, dim)))


def wide(dim):
    """What a guide has without a warm start."""
    return Gaussian(np.zeros(dim), np.full(dim, 0.1))


def found_for(function, dim, *, method="laplace", rounded=False, points=None, seed=0):
    points = starts(dim) if points is None else points
    target = Density(function, rounded=rounded)
    return find_gaussian(target, points, wide(dim), method=method, seed=seed)


def covariance_of(found):
    scale = found.gaussian.scale
    return np.diag(scale**2) if scale.ndim == 1 else scale @ scale.T


@pytest.fixture(scope="module")
def found_stiff():
    loc, covariance = stiff()
    return found_for(gaussian(loc, covariance, height=2.5), len(loc))


def test_an_ill_conditioned_gaussian_is_found_exactly(found_stiff):
    (loc, covariance), found = stiff(), found_stiff
    sds = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose((found.gaussian.loc - loc) / sds, 0, atol=1e-5)
    np.testing.assert_allclose(covariance_of(found) / np.outer(sds, sds),
                               covariance / np.outer(sds, sds), atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(found.gaussian.sds, sds, rtol=1e-5)
    assert (found.method, found.num_modes) == ("laplace", 1)


def test_the_elbo_of_the_posterior_itself_is_the_evidence(found_stiff):
    assert abs(found_stiff.elbo - 2.5) < 4 * found_stiff.elbo_stderr
    # The log-density varies as half a chi-squared number of 6 degrees of freedom does.
    assert 0.5 < found_stiff.elbo_stderr / math.sqrt(3 / 128) < 2


def test_in_single_precision_the_mode_is_within_a_twentieth_of_a_standard_deviation():
    loc, covariance = stiff()
    found = found_for(gaussian(loc, covariance), len(loc), rounded=True)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), found.gaussian.loc - loc)
    assert np.linalg.norm(whitened) < 0.05
    np.testing.assert_allclose(found.gaussian.sds, np.sqrt(np.diagonal(covariance)), rtol=0.02)


@pytest.mark.parametrize("height", [40.0, -40.0])
@pytest.mark.parametrize("method", METHODS)
def test_of_two_modes_the_one_that_holds_more_wins(height, method):
    low = gaussian(np.array([-6.0, 0.0]), np.eye(2) * 0.3)
    high = gaussian(np.array([6.0, 1.0]), np.eye(2) * 0.3, height)
    points = [np.array([-3.0, 1.0]), np.array([3.0, 1.0])]
    found = found_for(mixture(low, high), 2, points=points, method=method)
    at = (6.0, 1.0) if height > 0 else (-6.0, 0.0)
    np.testing.assert_allclose(found.gaussian.loc, at, atol=0.1)
    assert abs(found.elbo - max(height, 0.0)) < 0.1
    assert found.num_modes == (2 if method == "laplace" else 0)


def test_a_wide_low_mode_wins_over_a_high_thin_one_that_holds_less():
    thin = gaussian(np.array([-5.0, 0.0]), np.eye(2) * 1e-6, -3.0)
    broad = gaussian(np.array([5.0, 0.0]), np.eye(2))
    points = [np.array([-5.001, 0.001]), np.array([4.0, 0.0])]
    found = found_for(mixture(thin, broad), 2, points=points)
    np.testing.assert_allclose(found.gaussian.loc, (5.0, 0.0), atol=1e-3)
    assert (found.num_modes, found.log_density > 5) == (2, True)


def funnel(dim):
    """Neal's funnel, whose density has no bound as its neck narrows."""

    def function(x):
        v, rest = x[0], x[1:]
        n, inverse = dim - 1, np.exp(-v)
        square = rest @ rest
        value = (-v**2 / 18 - 0.5 * math.log(18 * math.pi)
                 - 0.5 * n * (v + LOG_TAU) - 0.5 * inverse * square)  # fmt: skip
        gradient = np.concatenate([[-v / 9 - n / 2 + 0.5 * inverse * square], -inverse * rest])
        hessian = np.diag(np.concatenate([[-1 / 9 - 0.5 * inverse * square], -inverse + 0 * rest]))
        hessian[0, 1:] = hessian[1:, 0] = inverse * rest
        return value, gradient, hessian

    return function


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dim", [2, 5, 10])
def test_a_funnel_gets_a_finite_gaussian_that_is_better_than_the_start(dim, method):
    with np.errstate(all="ignore"):  # the neck ends where numbers do
        found = found_for(funnel(dim), dim, method=method)
    target, z = Density(funnel(dim)), np.random.default_rng(9).normal(size=(4000, dim))
    elbo, error = found.gaussian.elbo(target, z)
    start, start_error = wide(dim).elbo(target, z)
    assert np.isfinite(found.gaussian.loc).all()
    assert np.isfinite(found.gaussian.scale).all()
    assert (found.gaussian.sds > 0).all()
    assert elbo > start + 4 * math.hypot(error, start_error)
    assert elbo < 4 * error  # the evidence is one


def saddle(x):
    """A ridge of two modes, seen from the saddle between them: gradient zero, curvature up."""
    value = -((x[0] ** 2 - 1) ** 2) - 0.5 * x[1] ** 2
    gradient = np.array([-4 * x[0] * (x[0] ** 2 - 1), -x[1]])
    return value, gradient, np.diag([-12 * x[0] ** 2 + 4, -1.0])


def test_where_an_ascent_ends_at_a_saddle_the_gaussian_is_finite_and_no_mode_is_claimed():
    found = found_for(saddle, 2, points=[np.array([0.0, 1.0])])
    assert found.num_modes == 0
    assert np.isfinite(found.gaussian.scale).all()
    assert (found.gaussian.sds > 0).all()
    assert math.isfinite(found.elbo)
    assert found.elbo >= wide(2).elbo(Density(saddle), normal_rows(2))[0]


def normal_rows(dim, seed=0):
    """The rows that ELBOs are compared by."""
    return np.random.default_rng(seed).normal(size=(128, dim))


def walled(bad):
    """A Gaussian at (1, 1) in the half space below a wall, and ``bad`` beyond it."""
    inner = gaussian(np.array([1.0, 1.0]), np.diag([0.25, 0.01]))

    def function(x):
        if x[0] > 8.0:
            return bad, np.full(2, np.nan), np.full((2, 2), np.nan)
        return inner(x)

    return function


@pytest.mark.parametrize("bad", [-math.inf, math.nan, math.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_half_space_without_a_finite_density_is_stayed_out_of(bad, method):
    points = [np.array([7.9, -2.0]), np.array([9.0, 0.0]), np.array([20.0, 0.0])]
    found = found_for(walled(bad), 2, points=points, method=method)
    np.testing.assert_allclose(found.gaussian.loc, 1.0, atol=1e-3)
    np.testing.assert_allclose(found.gaussian.sds, (0.5, 0.1), rtol=0.05)


def test_a_gaussian_that_reaches_where_the_density_is_zero_is_not_taken():
    inner = gaussian(np.zeros(1), np.eye(1))

    def half(x):
        return inner(x) if x[0] > -0.5 else (-math.inf, np.full(1, np.nan), np.full((1, 1), np.nan))

    found = found_for(half, 1, points=[np.array([1.0])])
    assert found.method == "start"
    assert math.isfinite(found.elbo)
    np.testing.assert_array_equal(found.gaussian.sds, 0.1)


@pytest.mark.parametrize("bad", [-math.inf, math.nan])
@pytest.mark.parametrize("method", METHODS)
def test_without_a_finite_density_anywhere_the_start_is_kept(bad, method):
    def nowhere(x):
        return bad, np.full(3, np.nan), np.full((3, 3), np.nan)

    found = found_for(nowhere, 3, method=method)
    assert (found.method, found.elbo, found.num_modes) == ("start", -math.inf, 0)
    assert math.isnan(found.log_density)
    np.testing.assert_array_equal(found.gaussian.loc, 0)
    np.testing.assert_array_equal(found.gaussian.scale, 0.1)


@pytest.mark.parametrize("method", METHODS)
def test_one_latent(method):
    found = found_for(gaussian(np.array([50.0]), np.array([[1e-4]]), -1.0), 1, method=method)
    np.testing.assert_allclose(found.gaussian.loc, 50.0, atol=1e-4)
    np.testing.assert_allclose(found.gaussian.sds, 0.01, rtol=1e-4)
    assert abs(found.elbo + 1) < 4 * found.elbo_stderr


def test_more_latents_than_a_triangle_is_worth_get_a_diagonal():
    dim = MAX_TRIANGULAR_DIM + 2
    rng = np.random.default_rng(3)
    loc, sds = rng.normal(size=dim), np.geomspace(0.5, 2, dim)

    def product(x):
        z = (x - loc) / sds
        return -0.5 * (z @ z + dim * LOG_TAU) - np.log(sds).sum(), -z / sds, None

    found = found_for(product, dim, points=starts(dim, 2))
    assert (found.method, found.gaussian.scale.shape) == ("mean_field", (dim,))
    assert np.abs((found.gaussian.loc - loc) / sds).max() < 0.1
    assert np.abs(np.log(found.gaussian.sds / sds)).max() < 0.1
    start, start_error = wide(dim).elbo(Density(product), normal_rows(dim))
    assert found.elbo > start + 10 * math.hypot(found.elbo_stderr, start_error)
    assert found.elbo < 4 * found.elbo_stderr  # the evidence is one


def test_mean_field_corrects_scales_that_are_far_off():
    dim = 40
    rng = np.random.default_rng(4)
    loc, sds = rng.normal(size=dim), np.geomspace(1e-3, 1e2, dim)

    def product(x):
        z = (x - loc) / sds
        return -0.5 * (z @ z + dim * LOG_TAU) - np.log(sds).sum(), -z / sds, None

    guessed = sds * np.exp(rng.uniform(-2.5, 2.5, size=dim))  # by a factor of up to 12
    start = Gaussian(loc + 0.5 * sds, guessed)
    found = mean_field.improve(Density(product), start, guessed, seed=0)
    assert np.abs((found.loc - loc) / sds).max() < 0.3
    assert np.abs(np.log(found.sds / sds)).max() < 0.5


def test_mean_field_leaves_out_steps_that_are_not_finite():
    def half(x):
        if x[0] < 0:
            return math.nan, np.full(2, math.nan), None
        return float(np.log(x[0]) - x[0] - 0.5 * x[1] ** 2), np.array([1 / x[0] - 1, -x[1]]), None

    start = Gaussian(np.array([1.0, 2.0]), np.full(2, 0.1))
    found = mean_field.improve(Density(half), start, np.ones(2), seed=0)
    assert np.isfinite(found.loc).all()
    assert abs(found.loc[1]) < 0.3


def test_up_to_that_many_latents_the_triangle_is_full():
    dim = 20
    loc, covariance = np.ones(dim), 0.5 + 0.5 * np.eye(dim)
    found = found_for(gaussian(loc, covariance), dim)
    np.testing.assert_allclose(covariance_of(found), covariance, atol=1e-5)


def student_t(x, degrees=3.0):
    """A bivariate Student t at zero with unit scale."""
    square = 1 + x @ x / degrees
    half = (degrees + 2) / 2
    value = math.lgamma(half) - math.lgamma(degrees / 2) - math.log(degrees * math.pi)
    factor = -2 * half / degrees / square
    hessian = factor * (np.eye(2) - 2 * np.outer(x, x) / degrees / square)
    return value - half * math.log(square), factor * x, hessian


@pytest.mark.parametrize("method", METHODS)
def test_a_student_t_gets_a_gaussian_at_its_centre(method):
    found = found_for(student_t, 2, method=method)
    np.testing.assert_allclose(found.gaussian.loc, 0, atol=0.3)
    if method == "laplace":  # the precision there is (degrees + 2) / degrees
        np.testing.assert_allclose(found.gaussian.sds, math.sqrt(3 / 5), rtol=1e-6)
    assert -0.4 < found.elbo < 4 * found.elbo_stderr


@pytest.mark.parametrize("point", [np.array([1.0, 1.0]), np.array([1.0, 1.0 + 1e-9])])
@pytest.mark.parametrize("method", METHODS)
def test_a_start_at_the_mode_stays_there(point, method):
    found = found_for(walled(-math.inf), 2, points=[point], method=method)
    if method == "laplace":
        np.testing.assert_allclose(found.gaussian.sds, (0.5, 0.1), rtol=1e-6)
    assert math.isfinite(found.elbo)


def test_a_flat_direction_gets_a_finite_scale():
    def ridge(x):
        return -0.5 * x[0] ** 2, np.array([-x[0], 0.0]), np.diag([-1.0, 0.0])

    found = found_for(ridge, 2)
    assert np.isfinite(found.gaussian.scale).all()
    assert (found.gaussian.sds > 0).all()


def test_pathfinder_asks_for_no_second_derivatives():
    target = Density(gaussian(np.ones(3), np.eye(3)))
    target.hessian = None
    found = find_gaussian(target, starts(3), wide(3), method="pathfinder", seed=0)
    np.testing.assert_allclose(found.gaussian.loc, 1.0, atol=1e-4)


def test_the_same_seed_gives_the_same_and_another_one_other_draws():
    one, two, other = (found_for(student_t, 2, seed=seed) for seed in (1, 1, 2))
    assert one.elbo == two.elbo != other.elbo


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="warm_start: expected one of 'laplace', 'pathfinder'"):
        found_for(student_t, 2, method="newton")


def test_log_determinant_and_elbo_of_a_gaussian_are_those_of_its_covariance():
    scale = np.array([[2.0, 0.0], [1.0, 0.5]])
    full, diagonal = Gaussian(np.zeros(2), scale), Gaussian(np.zeros(2), np.array([2.0, 0.5]))
    assert full.log_det == diagonal.log_det == 0.0
    np.testing.assert_allclose(full.sds, (2.0, math.hypot(1, 0.5)))
    target = Density(gaussian(np.zeros(2), scale @ scale.T, 7.0))
    elbo, error = full.elbo(target, normal_rows(2))
    assert elbo == pytest.approx(7.0, abs=1e-12 + 4 * error)
