"""Pictures of flows and densities of the plane."""

import numpy as np
import pytest

from flowkit_core import plots
from flowkit_core.plots.arrays import levels_of_mass, smoothed

MATRIX = np.array([[1.0, 0.5], [0.0, 2.0]])


def linear(z):
    return z @ MATRIX.T


def normal(x):
    return -0.5 * (x**2).sum(1)


def test_a_grid_is_drawn_and_what_the_transform_makes_of_it():
    left, right = plots.warped_grid(linear, extent=2.5, num_lines=5).axes
    assert len(left.lines) == len(right.lines) == 5 + 5 + 2  # and circles of radius 1 and 2
    for before, after in zip(left.lines, right.lines, strict=True):
        np.testing.assert_allclose(after.get_xydata(), linear(before.get_xydata()))
    first, second, circle = (left.lines[i].get_xydata() for i in (0, 5, -1))
    np.testing.assert_array_equal(first[:, 0], -2.5)
    np.testing.assert_array_equal(second[:, 1], -2.5)
    np.testing.assert_allclose(np.hypot(*circle.T), 2.0)
    assert (left.get_xlabel(), right.get_ylabel()) == ("z[0]", "x[1]")
    assert right.get_aspect() == 1


def test_the_window_is_that_of_the_discs_and_axes_of_very_different_scale_are_stretched():
    _, right = plots.warped_grid(lambda z: np.sinh(2 * z) * [1.0, 9.0]).axes
    low, high = right.get_xlim()
    assert low < -np.sinh(6.0) < np.sinh(6.0) < high < 1.2 * np.sinh(6.0)
    assert right.get_aspect() == "auto"


def test_points_that_are_not_finite_are_left_out():
    with np.errstate(invalid="ignore"):
        _, right = plots.warped_grid(lambda z: np.sqrt(z), extent=0.5).axes
    assert np.isfinite(right.get_xlim()).all()


@pytest.mark.parametrize(
    ("transform", "error", "text"),
    [
        (3, TypeError, "transform: expected a function"),
        (lambda z: z[:, 0], ValueError, "transform: expected shape"),
        (lambda z: np.nan * z, ValueError, "transform: expected finite points, got none"),
    ],
)
def test_other_transforms_are_refused(transform, error, text):
    with pytest.raises(error, match=text):
        plots.warped_grid(transform)


@pytest.mark.parametrize("wrong", [{"extent": 0.0}, {"extent": np.inf}, {"num_lines": 1}])
def test_other_grids_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        plots.warped_grid(linear, **wrong)


def test_regions_hold_their_share_of_samples_of_the_density(rng):
    figure = plots.density_with_samples(normal, rng.normal(size=(4000, 2)), labels=("a", "b"))
    (axes,) = figure.axes
    inner, outer = (
        int(part.split("region: ")[1].split()[0]) for part in axes.get_title().split(",")
    )
    assert abs(inner - 50) <= 2
    assert abs(outer - 95) <= 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("a", "b")
    # The regions of N(0, I) are discs of radius sqrt(-2 log(1 - mass)).
    outer_line, inner_line = (c.get_paths()[0].vertices for c in axes.collections[-2:])
    assert np.hypot(*inner_line.T) == pytest.approx(1.177, abs=0.05)
    assert np.hypot(*outer_line.T) == pytest.approx(2.448, abs=0.05)


def test_samples_that_the_density_misses_are_counted_as_outside(rng):
    figure = plots.density_with_samples(
        lambda x: np.where(x[:, 0] < 0, 0.0, -np.inf), rng.normal(size=(4000, 2))
    )
    assert figure.axes[0].get_title().startswith("50 % region: 5")  # of a flat half, all or none


@pytest.mark.parametrize(
    ("log_density", "samples", "error", "text"),
    [
        (None, np.eye(2), TypeError, "log_density: expected a function"),
        (linear, np.eye(2), ValueError, "log_density: expected shape"),
        (lambda x: np.nan * x[:, 0], np.eye(2), ValueError, "got NaN"),
        (lambda x: np.full(len(x), np.inf), np.eye(2), ValueError, "got NaN or \\+inf"),
        (lambda x: np.full(len(x), -np.inf), np.eye(2), ValueError, "got none"),
        (normal, np.ones((5, 3)), ValueError, "samples: expected shape"),
        (normal, np.ones((1, 2)), ValueError, "samples: expected shape"),
        (normal, [[0.0, np.nan], [1.0, 2.0]], ValueError, "samples: expected finite"),
    ],
)
def test_other_densities_and_samples_are_refused(log_density, samples, error, text):
    with pytest.raises(error, match=text):
        plots.density_with_samples(log_density, samples)


def test_smoothing_keeps_the_mass_and_spreads_it_by_the_bandwidths():
    counts = np.zeros((41, 61))
    counts[20, 30] = 5.0
    found = smoothed(counts, (2.0, 4.0))
    assert found.sum() == pytest.approx(5.0)
    for axis, (middle, bandwidth) in enumerate([(20, 2.0), (30, 4.0)]):
        share = found.sum(1 - axis) / 5
        spread = share @ (np.arange(len(share)) - middle) ** 2
        assert spread == pytest.approx(bandwidth**2, rel=0.01)


def test_levels_cut_off_the_least_dense_part_of_the_mass():
    density = np.array([[0.4, 0.1], [0.3, 0.2]])
    assert levels_of_mass(density, (0.9, 0.7, 0.4)) == [0.2, 0.3, 0.4]
    assert levels_of_mass(10 * density, (1.0,)) == [1.0]
