"""Arrays that pictures are made from: what users pass, checked, and densities on lattices."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def points_of_the_plane(name: str, values: ArrayLike) -> Floats:
    """``values`` as an array (n, 2) of at least two finite points.

    Raises:
        ValueError: if they are anything else.
    """
    points = np.asarray(values, float)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2:
        raise ValueError(f"{name}: expected shape (n, 2) with n >= 2, got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError(f"{name}: expected finite points, got some that are not")
    return points


def called(name: str, function: Callable[[Floats], Any], points: Floats, shape: Any) -> Floats:
    """What a user's function makes of points, if it has the shape expected.

    Raises:
        TypeError: if it cannot be called.
        ValueError: if it returns another shape.
    """
    if not callable(function):
        raise TypeError(f"{name}: expected a function of points (n, 2), got {function!r}")
    values = np.asarray(function(points), float)
    if values.shape != shape:
        raise ValueError(f"{name}: expected shape {shape} for points {points.shape}, got "
                         f"{values.shape}")  # fmt: skip
    return values


def window(values: Floats, tail: float, margin: float) -> tuple[Floats, Floats]:
    """Lower and upper ends that hold the columns of ``values``, but for their tails.

    Args:
        values: (n, k).
        tail: share of each column that may lie below, and above.
        margin: added on either side, relative to the width.
    """
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    # Of a constant some window, too.
    width = np.where(high > low, high - low, np.maximum(1e-3 * np.abs(high), 1e-12))
    return low - margin * width, high + margin * width


def smoothed(counts: Floats, bandwidths: Sequence[float]) -> Floats:
    """Counts on a lattice, convolved with a Gaussian along each axis; bandwidths in bins."""
    for axis, bandwidth in enumerate(bandwidths):
        reach = min(int(4 * bandwidth) + 1, counts.shape[axis] // 2 - 1)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / bandwidth) ** 2)
        kernel /= kernel.sum()
        counts = np.apply_along_axis(np.convolve, axis, counts, kernel, mode="same")
    return counts


def levels_of_mass(density: Floats, masses: Sequence[float]) -> list[float]:
    """Densities above which lie those shares of the mass: highest-density regions.

    Args:
        density: on a lattice of equal cells, up to a factor.
        masses: shares, between 0 and 1.
    """
    ordered = np.sort(density, axis=None)[::-1]
    below = np.searchsorted(np.cumsum(ordered), np.asarray(masses) * ordered.sum())
    return [float(ordered[min(i, len(ordered) - 1)]) for i in below]
