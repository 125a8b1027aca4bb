"""Values of the spline law in both wings: the textbook's formula, its edges, its precision."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import numpyro_flowkit.laws
import pyro_flowkit.laws
from flowkit_core.specs import SplineLaw
from tests.splines import bisected, draw, knots_of, one_bin, run, textbook

every_wing = pytest.mark.parametrize("wing", ["pyro", "numpyro"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
both_directions = pytest.mark.parametrize("direction", ["forward", "inverse"])
every_size = pytest.mark.parametrize("num_bins", [2, 3, 8, 32])
many = pytest.mark.parametrize(
    ("num_bins", "num_points"), [(2, 100_000), (8, 100_000), (32, 20_000)]
)


@every_wing
@every_size
def test_forward_is_the_textbook_formula(wing, num_bins):
    law = SplineLaw(num_bins, bound=2.5, soft_bound=1.8)
    points, params = draw(law, 200)
    assert 5 < np.sum(np.abs(points) > law.bound) < 100
    x, log_slope = run(wing, "forward", law, points, params)
    expected = np.array([textbook(law, z, p) for z, p in zip(points, params.T, strict=True)])
    np.testing.assert_allclose(x, expected[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(log_slope, expected[:, 1], rtol=1e-10, atol=1e-10)


@every_wing
@every_size
def test_inverse_is_the_point_found_by_bisection(wing, num_bins):
    law = SplineLaw(num_bins, bound=2.5, soft_bound=1.8)
    points, params = draw(law, 60, seed=1)
    z, log_slope = run(wing, "inverse", law, points, params)
    expected = np.array([bisected(law, x, p) for x, p in zip(points, params.T, strict=True)])
    slopes = np.array([textbook(law, z, p)[1] for z, p in zip(expected, params.T, strict=True)])
    np.testing.assert_allclose(z, expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(log_slope, -slopes, rtol=1e-9, atol=1e-9)


@every_wing
@both_dtypes
@both_directions
@pytest.mark.parametrize(("num_bins", "bound"), [(2, 0.3), (3, 2.7), (7, 2.7), (8, 4.0), (32, 1e3)])
def test_zeros_are_exactly_the_identity(wing, direction, dtype, num_bins, bound):
    law = SplineLaw(num_bins, bound)
    rng = np.random.default_rng(num_bins)
    points = rng.normal(size=2000) * bound * 10.0 ** rng.integers(-20, 3, size=2000)
    edges = bound * np.linspace(-1, 1, 2 * num_bins + 1)  # knots and middles of bins
    points = np.concatenate([points, edges, [0.0, -0.0, 1e30, -1e30, np.inf]]).astype(dtype)
    params = np.zeros((law.num_conditioned + 2, 1), dtype)
    values, log_slopes = run(wing, direction, law, points, params)
    assert values.dtype == log_slopes.dtype == dtype
    np.testing.assert_array_equal(values, points)
    np.testing.assert_array_equal(log_slopes, np.zeros(len(points)))


@every_wing
@every_size
def test_it_increases_and_its_log_slope_is_that_of_finite_differences(wing, num_bins):
    law = SplineLaw(num_bins, bound=2.0)
    step = 2e-6
    points = np.linspace(-2.5, 2.5, 4001)
    for seed in range(3):
        _, params = draw(law, 1, seed=seed)
        x, log_slope = run(wing, "forward", law, points, params)
        assert (np.diff(x) > 0).all()
        above, _ = run(wing, "forward", law, points + step, params)
        below, _ = run(wing, "forward", law, points - step, params)
        smooth = np.abs(np.abs(points) - law.bound) > 2 * step
        assert smooth.sum() > 3990
        difference = (above - below) / (2 * step)
        np.testing.assert_allclose(difference[smooth], np.exp(log_slope[smooth]), rtol=2e-4)


@every_wing
@many
@pytest.mark.parametrize("scale", [1.4, 4.2])
def test_round_trip_in_double_precision(wing, num_bins, num_points, scale):
    law = SplineLaw(num_bins)
    points, params = draw(law, num_points, scale=scale, seed=3)
    x, log_slope = run(wing, "forward", law, points, params)
    back, inverse_log_slope = run(wing, "inverse", law, x, params)
    assert log_slope.min() < -6  # a rounding of x is magnified to exp(6) of one of z
    assert np.abs(back - points).max() < 2e-11
    assert np.abs(log_slope + inverse_log_slope).max() < 4e-11


@every_wing
def test_outside_the_box_it_is_exactly_the_affine_map(wing):
    law = SplineLaw(num_bins=4, bound=1.5)
    z = np.array([1.5 + 1e-15, -1.5 - 1e-15, 7.0, -1e30, 1e300, np.inf, -np.inf])
    _, params = draw(law, 1, seed=4)
    params[-2:] = 0.0
    for direction in ("forward", "inverse"):
        values, log_slope = run(wing, direction, law, z, params)
        np.testing.assert_array_equal(values, z)
        np.testing.assert_array_equal(log_slope, np.zeros(len(z)))
    params[-2:] = [[0.5], [-0.25]]
    x, log_slope = run(wing, "forward", law, z, params)
    np.testing.assert_allclose(x, z * np.exp(-0.25) + 0.5, rtol=1e-15)
    np.testing.assert_array_equal(log_slope, np.full(len(z), -0.25))
    back, inverse_log_slope = run(wing, "inverse", law, x, params)
    np.testing.assert_allclose(back, z, rtol=1e-15)
    np.testing.assert_array_equal(inverse_log_slope, np.full(len(z), 0.25))


@every_wing
@both_directions
@pytest.mark.parametrize("seed", range(5))
def test_at_the_edges_of_the_box_value_and_slope_are_continuous(wing, direction, seed):
    law = SplineLaw(num_bins=5, bound=1.5)
    _, params = draw(law, 1, free=0.0, seed=seed)
    distance = np.array([0.0, 1e-12, 1e-9, 1e-6])
    for side in (-1.0, 1.0):
        values, log_slope = run(wing, direction, law, side * (law.bound - distance), params)
        assert abs(values[0] - side * law.bound) < 1e-15
        assert (np.abs(values - side * law.bound) <= 1.1 * distance + 1e-14).all()
        assert (np.abs(log_slope) <= 1e3 * distance + 1e-12).all()


@every_wing
def test_at_the_inner_knots_value_and_slope_are_the_given_ones(wing):
    law = SplineLaw(num_bins=6, bound=2.0, soft_bound=1.5)
    _, params = draw(law, 1, free=0.0, seed=5)
    x, y, slope = map(np.array, knots_of(law, params[:, 0]))
    for nudge in (-1e-12, 0.0, 1e-12):
        image, log_slope = run(wing, "forward", law, x[1:-1] + nudge, params)
        np.testing.assert_allclose(image, y[1:-1], atol=1e-10)
        np.testing.assert_allclose(log_slope, np.log(slope[1:-1]), atol=1e-8)
        point, log_slope = run(wing, "inverse", law, y[1:-1] + nudge, params)
        np.testing.assert_allclose(point, x[1:-1], atol=1e-10)
        np.testing.assert_allclose(log_slope, -np.log(slope[1:-1]), atol=1e-8)


@every_wing
@many
def test_single_precision_is_near_double_precision(wing, num_bins, num_points):
    law = SplineLaw(num_bins)
    z, params = draw(law, num_points, seed=6, dtype=np.float32)
    wide = params.astype(np.float64)
    x, log_slope = run(wing, "forward", law, z, params)
    exact, exact_log_slope = run(wing, "forward", law, z.astype(np.float64), wide)
    assert np.abs(x - exact).max() < 1e-4
    assert np.abs(log_slope - exact_log_slope).max() < 2e-3
    assert np.median(np.abs(log_slope - exact_log_slope)) < 2e-6
    # The inverse is judged by where it leads: its error in z is that in x over the slope.
    back, inverse_log_slope = run(wing, "inverse", law, x, params)
    image, _ = run(wing, "forward", law, back.astype(np.float64), wide)
    assert np.abs(image - x).max() < 1e-4
    assert log_slope.min() < -6
    assert np.abs(back - z).max() < 2e-3
    assert np.abs(log_slope + inverse_log_slope).max() < 4e-3
    assert np.median(np.abs(back - z)) < 1e-6


@every_wing
@both_directions
def test_bins_of_any_shape_keep_single_precision(wing, direction):
    """Slopes at knots from 1e-3 to 1e3, as no soft bound admits: roots must not cancel."""
    rng = np.random.default_rng(13)
    slopes = 10.0 ** rng.uniform(-3, 3, size=(2, 100_000))
    sizes = 10.0 ** rng.uniform(-1.5, 0, size=(2, 100_000))
    starts = np.zeros(100_000)
    corners = np.array([[starts, sizes[0]], [starts, sizes[1]], slopes]).astype(np.float32)
    side = sizes[0 if direction == "forward" else 1]
    points = (side * rng.random(100_000)).astype(np.float32)
    got, got_log_slope = one_bin(wing, direction, points, corners)
    wide = points.astype(np.float64), corners.astype(np.float64)
    exact, log_slope = one_bin(wing, direction, *wide)
    assert (np.abs(got - exact) / sizes.max(0)).max() < 5e-5
    assert np.abs(got_log_slope - log_slope).max() < 1e-2
    image = points + exact
    back = "inverse" if direction == "forward" else "forward"
    returned, opposite = one_bin(wing, back, image, wide[1])
    # Rounding the image costs the point itself one over the slope.
    assert (np.abs(image + returned - wide[0]) * np.exp(np.minimum(log_slope, 0))).max() < 2e-15
    np.testing.assert_allclose(opposite, -log_slope, rtol=0, atol=1e-7)


@every_wing
@both_directions
def test_nan_stays_nan(wing, direction):
    law = SplineLaw(num_bins=3)
    _, params = draw(law, 3, seed=9)
    points = np.array([0.5, np.nan, 9.0])
    values, log_slope = run(wing, direction, law, points, params)
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    np.testing.assert_array_equal(np.isnan(log_slope), [False, True, False])


SHAPES = {
    "one spline": ((3, 4), [()]),
    "columns": ((3, 4), [(4,)]),
    "rows": ((3, 4), [(3, 1)]),
    "one point": ((), [(5,)]),
    "both ways": ((3, 1), [(1, 4), (4,)]),
    "each its own": ((2, 3, 4), [(), (4,), (3, 1), (2, 1, 1), (2, 3, 4)]),
    "empty": ((0, 4), [(4,)]),
}


@every_wing
@both_directions
@pytest.mark.parametrize("case", SHAPES)
def test_parameters_broadcast_against_the_points(wing, direction, case):
    shape, choices = SHAPES[case]
    law = SplineLaw(num_bins=3, bound=2.0)
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    points = rng.normal(size=shape)
    params = [
        rng.normal(size=choices[i % len(choices)])
        for i in range(law.num_conditioned + law.num_free)
    ]
    values, log_slope = run(wing, direction, law, points, params)
    full = np.broadcast_shapes(shape, *(p.shape for p in params))
    assert values.shape == log_slope.shape == full
    flat = [np.broadcast_to(p, full).reshape(-1).copy() for p in (points, *params)]
    expected, expected_log_slope = run(wing, direction, law, flat[0], flat[1:])
    np.testing.assert_allclose(values.reshape(-1), expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(log_slope.reshape(-1), expected_log_slope, rtol=1e-11, atol=1e-11)


def test_vmap_over_splines_is_the_batched_call():
    law = SplineLaw(num_bins=4)
    points, params = draw(law, 7, seed=12)
    for direction in ("forward", "inverse"):
        expected = run("pyro", direction, law, points, params)
        in_torch = torch.vmap(getattr(pyro_flowkit.laws.law_from_spec(law), direction))
        got = in_torch(torch.tensor(points), tuple(map(torch.tensor, params)))
        in_jax = jax.jit(jax.vmap(getattr(numpyro_flowkit.laws.law_from_spec(law), direction)))
        also = in_jax(jnp.asarray(points), tuple(map(jnp.asarray, params)))
        for one, two, want in zip(got, also, expected, strict=True):
            np.testing.assert_allclose(one.numpy(), want, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(np.asarray(two), want, rtol=1e-9, atol=1e-11)
