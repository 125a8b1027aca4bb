"""What a flow of the plane does to a grid."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit_core import checks
from flowkit_core.plots.arrays import Floats, called
from flowkit_core.plots.style import COLOURS, finished, new_figure, without_frame

# Points along a line of the grid: enough for a smooth curve where the flow bends it.
_PER_LINE = 241
# Axes of which one is this much longer get a scale of their own.
_MAX_ASPECT = 4.0


def warped_grid(
    transform: Callable[[Floats], ArrayLike],
    *,
    extent: float = 3.0,
    num_lines: int = 13,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """A square grid of the base, and where the flow takes it.

    Left, lines of equal z[0] (solid) and of equal z[1] (thin) and the circles |z| = 1, 2, ...;
    right, their images. Under N(0, I) the discs hold 39, 86 and 99 % of the mass. The window on
    the right holds the image of the largest disc: corners of the square may run out of it.

    Args:
        transform: points (n, 2) -> points (n, 2), base to data.
        extent: half the side of the square, in standard deviations of N(0, I).
        num_lines: in each direction.
        path: also write the picture there.

    Raises:
        ImportError: without matplotlib.
        TypeError: if ``transform`` cannot be called.
        ValueError: for a transform of other shapes, or one that maps no point to a finite one.

    Example:
        >>> warped_grid(lambda z: z + 0.5 * np.sin(z[:, ::-1])).axes[1].get_title()
        'x = flow(z)'
    """
    extent = checks.positive_float("extent", extent)
    lines = _lines(extent, checks.int_at_least("num_lines", num_lines, 2))
    radii = [float(r) for r in range(1, int(extent) + 1)] or [extent]
    circles = _circles(radii)
    z = np.concatenate([*lines, circles])  # (curves, points, 2)
    flat = z.reshape(-1, 2)
    x = called("transform", transform, flat, flat.shape).reshape(z.shape)
    inside = (np.hypot(*flat.T) <= extent * 1.001) & np.isfinite(x).all(-1).ravel()
    if not inside.any():
        raise ValueError("transform: expected finite points, got none")
    figure = new_figure(8, 4)
    titles = ("z, the base", "x = flow(z)")
    for axes, curves, title, name in zip(figure.subplots(1, 2), (z, x), titles, "zx", strict=True):
        _draw(axes, curves, len(lines[0]))
        shown = curves.reshape(-1, 2) if name == "z" else curves.reshape(-1, 2)[inside]
        low, high = shown.min(0), shown.max(0)
        width = np.maximum(high - low, 1e-9)
        axes.set(
            title=title, xlabel=f"{name}[0]", ylabel=f"{name}[1]",
            xlim=(low[0] - 0.05 * width[0], high[0] + 0.05 * width[0]),
            ylim=(low[1] - 0.05 * width[1], high[1] + 0.05 * width[1]),
        )  # fmt: skip
        if max(width) <= _MAX_ASPECT * min(width):
            axes.set_aspect("equal")
        axes.locator_params(nbins=6)
        without_frame(axes)
    circle_label = "|z| = " + ", ".join(f"{r:g}" for r in radii[:3]) + ", ..." * (len(radii) > 3)
    figure.axes[0].lines[-1].set_label(circle_label)
    figure.legend(
        handles=[figure.axes[0].lines[i] for i in (0, len(lines[0]), -1)],
        loc="outside lower center", frameon=False, ncols=3,
    )  # fmt: skip
    return finished(figure, path)


def _lines(extent: float, count: int) -> tuple[Floats, Floats]:
    """Lines of equal z[0] and of equal z[1], each (count, points, 2)."""
    fixed, along = np.meshgrid(
        np.linspace(-extent, extent, count), np.linspace(-extent, extent, _PER_LINE), indexing="ij"
    )
    return np.stack([fixed, along], -1), np.stack([along, fixed], -1)


def _circles(radii: list[float]) -> Floats:
    """Circles about the origin, (circles, points, 2)."""
    angle = np.linspace(0, 2 * np.pi, _PER_LINE)
    return np.outer(radii, np.stack([np.cos(angle), np.sin(angle)], -1)).reshape(-1, _PER_LINE, 2)


def _draw(axes: Any, curves: Floats, count: int) -> None:
    """Lines of equal z[0], lines of equal z[1], circles."""
    looks = (
        (curves[:count], {"color": COLOURS[0], "linewidth": 1.1, "label": "z[0] fixed"}),
        (curves[count : 2 * count], {"color": COLOURS[1], "linewidth": 0.6, "label": "z[1] fixed"}),
        (curves[2 * count :], {"color": "black", "linewidth": 1.4, "linestyle": "--"}),
    )
    for group, look in looks:
        for curve in group:
            axes.plot(*curve.T, **look)
