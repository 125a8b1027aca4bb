"""Draws of models beside data."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowkit_core.plots.style import COLOURS, finished, new_figure, without_frame


def samples_beside_data(
    data: ArrayLike,
    samples: Mapping[str, ArrayLike],
    *,
    columns: tuple[int, int] = (0, 1),
    labels: tuple[str, str] = ("x[0]", "x[1]"),
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Two columns of real data beside draws of several models, one panel each.

    Args:
        data: (n, D).
        samples: draws of each model, (m, D).
        columns: which two columns to show.
        labels: their names.
        path: also write the picture there.
    """
    i, j = columns
    panels: dict[str, NDArray[np.float64]] = {"data": np.asarray(data, float)}
    panels.update({name: np.asarray(values, float) for name, values in samples.items()})
    figure = new_figure(3 * len(panels), 3.2)
    axes_list = np.atleast_1d(figure.subplots(1, len(panels), sharex=True, sharey=True))
    for k, (axes, (name, values)) in enumerate(zip(axes_list, panels.items(), strict=True)):
        colour = "0.3" if k == 0 else COLOURS[(k - 1) % len(COLOURS)]
        axes.scatter(values[:, i], values[:, j], s=5, alpha=0.5, linewidths=0, color=colour)
        axes.set(title=name, xlabel=labels[0])
        without_frame(axes)
    axes_list[0].set_ylabel(labels[1])
    # The window is that of the data: a heavy tail of one model must not shrink the others.
    real = panels["data"][:, [i, j]]
    low, high = real.min(0), real.max(0)
    margin = 0.15 * (high - low)
    axes_list[0].set(
        xlim=(low[0] - margin[0], high[0] + margin[0]),
        ylim=(low[1] - margin[1], high[1] + margin[1]),
    )
    return finished(figure, path)
