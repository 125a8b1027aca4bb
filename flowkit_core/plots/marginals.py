"""Posteriors one quantity at a time."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit_core.plots.style import COLOURS, LINES, finished, new_figure, without_frame


def marginal_histograms(
    draws: Mapping[str, Mapping[str, ArrayLike]],
    *,
    reference: Mapping[str, tuple[float, float]],
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Histograms of several approximations, one panel per quantity, beside a reference.

    Args:
        draws: ``draws[approximation][quantity]``, arrays of draws.
        reference: mean and standard deviation of each quantity; drawn as a line and a band.
        path: also write the picture there.
    """
    quantities = list(reference)
    figure = new_figure(4.2 * len(quantities), 3.4)
    panels = np.atleast_1d(figure.subplots(1, len(quantities)))
    for axes, quantity in zip(panels, quantities, strict=True):
        mean, sd = reference[quantity]
        pooled = np.concatenate([np.ravel(d[quantity]) for d in draws.values()])
        low, high = np.quantile(pooled, [0.005, 0.995])
        bins = np.linspace(low, high, 60)
        peaks = []
        for k, (name, by_quantity) in enumerate(draws.items()):
            heights, _, _ = axes.hist(
                np.ravel(by_quantity[quantity]), bins=bins, density=True, histtype="step",
                linewidth=1.5, linestyle=LINES[k % len(LINES)], color=COLOURS[k % len(COLOURS)],
                label=name,
            )  # fmt: skip
            peaks.append(float(heights.max()))
        # One narrow approximation must not flatten the others: it runs out of the frame.
        axes.set_ylim(0, 1.05 * min(max(peaks), 4 * min(peaks)))
        axes.axvline(mean, color="0.3", linewidth=1, label="reference mean, sd")
        axes.axvspan(mean - sd, mean + sd, color="0.85", zorder=0)
        axes.set(xlabel=quantity, ylabel="density")
        without_frame(axes)
    panels[0].legend(frameon=False, fontsize=8)
    return finished(figure, path)
