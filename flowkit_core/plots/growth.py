"""How a cost grows with a size."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowkit_core.plots.style import (
    COLOURS,
    LINES,
    MARKERS,
    finished,
    new_figure,
    without_frame,
)


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log(cost) against log(size) over the upper half of the sizes.

    Example:
        >>> round(growth_exponent([8, 16, 32, 64], [1.0, 4.0, 16.0, 64.0]), 6)
        2.0
    """
    order = np.argsort(sizes)
    upper = order[len(order) // 2 :] if len(order) > 3 else order
    slope, _ = np.polyfit(np.log(np.asarray(sizes)[upper]), np.log(np.asarray(costs)[upper]), 1)
    return float(slope)


def growth_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str = "D",
    ylabel: str = "seconds",
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Costs against sizes, both axes logarithmic; the legend has the exponent of each growth.

    The exponent is the slope over the upper half of the sizes (`growth_exponent`).

    Args:
        curves: name -> (sizes, costs), such as numbers of coordinates and seconds of a call.
        xlabel: what the sizes are.
        ylabel: what the costs are.
        path: also write the picture there.

    Raises:
        ImportError: without matplotlib.
        ValueError: without curves, or for a curve of fewer than two sizes, of sizes and costs of
            different number, or of numbers that are not above zero.

    Example:
        >>> figure = growth_curves({"loop": ([8, 16, 32], [0.01, 0.02, 0.04])})
        >>> figure.axes[0].get_legend().get_texts()[0].get_text()
        'loop (D^1.0)'
    """
    if not curves:
        raise ValueError("curves: expected at least one, got none")
    for name, (sizes, costs) in curves.items():
        _check(name, sizes, costs)
    figure = new_figure(5.4, 3.8)
    axes = figure.subplots()
    titled = {
        f"{name} ({xlabel}^{growth_exponent(sizes, costs):z.1f})": (sizes, costs)
        for name, (sizes, costs) in curves.items()
    }
    draw_log_log(axes, titled)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False, fontsize="small")
    return finished(figure, path)


def draw_log_log(axes: Any, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """Curves in one panel; colour, marker and dashes all differ. Each size is a tick."""
    ticks = sorted({size for sizes, _ in curves.values() for size in sizes})
    for k, (name, (sizes, costs)) in enumerate(curves.items()):
        axes.loglog(
            sizes, costs, color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)],
            linestyle=LINES[k % len(LINES)], markersize=4, label=name,
        )  # fmt: skip
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    without_frame(axes)


def _check(name: str, sizes: Sequence[float], costs: Sequence[float]) -> None:
    one, two = np.asarray(sizes, float), np.asarray(costs, float)
    if one.ndim != 1 or one.shape != two.shape or len(one) < 2:
        raise ValueError(
            f"curves[{name!r}]: expected as many costs as sizes, at least two, got shapes "
            f"{one.shape} and {two.shape}"
        )
    if not ((one > 0) & (one < np.inf) & (two > 0) & (two < np.inf)).all():
        raise ValueError(
            f"curves[{name!r}]: expected finite numbers above zero, got {sizes}, {costs}"
        )
