"""A density over the plane, and samples on it."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit_core.plots.arrays import Floats, called, levels_of_mass, points_of_the_plane, window
from flowkit_core.plots.style import COLOURS, finished, new_figure, without_frame

_CELLS = 160
_MASSES = (0.95, 0.5)
# Shares of the mass that darker and darker shades hold, so that the shape shows, too.
_SHADES = {0.99: "#eef4fa", 0.95: "#d6e6f4", 0.8: "#b5d4e9", 0.5: "#8cbedc", 0.25: "#5fa3cf"}
_MAX_POINTS = 3000


def density_with_samples(
    log_density: Callable[[Floats], ArrayLike],
    samples: ArrayLike,
    *,
    labels: tuple[str, str] = ("x[0]", "x[1]"),
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """A density's regions of 50 and 95 % of its mass, and samples on them.

    The title counts how many of the samples lie in each region: of a density that fits them, 50
    and 95 %. Regions are those of highest density, within the window of the picture.

    Args:
        log_density: points (n, 2) -> log-densities (n,), nats, up to a constant; -inf is welcome.
        samples: such as data that the density was fitted to, (n, 2).
        labels: names of the two coordinates.
        path: also write the picture there.

    Cost: one call of ``log_density``, for 25 600 points and the samples.

    Raises:
        ImportError: without matplotlib.
        TypeError: if ``log_density`` cannot be called.
        ValueError: for other shapes, samples that are not finite, a log-density that is NaN or
            +inf somewhere, or -inf everywhere.

    Example:
        >>> draws = np.random.default_rng(0).normal(size=(1000, 2))
        >>> figure = density_with_samples(lambda x: -0.5 * (x**2).sum(1), draws)
        >>> figure.axes[0].get_title()
        '50 % region: 50 % of the samples, 95 % region: 95 %'
    """
    points = points_of_the_plane("samples", samples)
    low, high = window(points, tail=0.002, margin=0.2)
    x, y = (np.linspace(low[i], high[i], _CELLS) for i in (0, 1))
    lattice = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    both = np.concatenate([lattice, points])
    logs = called("log_density", log_density, both, (len(both),))
    if np.isnan(logs).any() or logs.max() == np.inf:
        raise ValueError("log_density: expected finite values or -inf, got NaN or +inf")
    on_lattice, at_points = logs[: len(lattice)], logs[len(lattice) :]
    top = on_lattice.max()
    if top == -np.inf:
        raise ValueError("log_density: expected a density in the window of the samples, got none")
    density = np.exp(on_lattice - top).reshape(_CELLS, _CELLS)
    figure = new_figure(5, 4.6)
    axes = figure.subplots()
    _shade(axes, x, y, density)
    shown = points[:: -(-len(points) // _MAX_POINTS)]
    axes.scatter(*shown.T, s=5, color=COLOURS[1], alpha=0.6, linewidths=0)
    contours = levels_of_mass(density, _MASSES)
    _contour(axes, x, y, density, contours)
    inside = [100 * np.mean(np.exp(at_points - top) >= level) for level in contours]
    axes.set(
        title=f"50 % region: {inside[1]:.0f} % of the samples, 95 % region: {inside[0]:.0f} %",
        xlabel=labels[0], ylabel=labels[1], xlim=(low[0], high[0]), ylim=(low[1], high[1]),
    )  # fmt: skip
    axes.title.set_fontsize("medium")
    without_frame(axes)
    return finished(figure, path)


def _shade(axes: Any, x: Floats, y: Floats, density: Floats) -> None:
    levels = levels_of_mass(density, list(_SHADES))
    for level, above, colour in zip(levels, [*levels[1:], np.inf], _SHADES.values(), strict=True):
        if level < above:  # not so where the density is flat
            axes.contourf(x, y, density, levels=[level, above], colors=[colour])


def _contour(axes: Any, x: Floats, y: Floats, density: Floats, levels: list[float]) -> None:
    """The outer region dashed, the inner one solid."""
    for level, line in zip(levels, ("--", "-"), strict=True):
        axes.contour(x, y, density, levels=[level], colors="black", linewidths=1.2, linestyles=line)
