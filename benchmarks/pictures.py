"""Pictures of results, in the look of `flowkit_core.plots`."""

import numpy as np

from flowkit_core.plots import COLOURS, LINES, new_figure, without_frame
from flowkit_core.plots.growth import draw_log_log


def log_log(panels, ylabel):
    """Curves of seconds against sizes, shown as milliseconds.

    Args:
        panels: label of the horizontal axis -> name of the curve -> (sizes, seconds).
        ylabel: of the vertical axis.
    """
    figure = new_figure(4.2 * len(panels), 3.6)
    axes_list = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    first = list(next(iter(panels.values())))
    for axes, (xlabel, curves) in zip(axes_list, panels.items(), strict=True):
        in_ms = {n: (sizes, [1e3 * t for t in seconds]) for n, (sizes, seconds) in curves.items()}
        draw_log_log(axes, in_ms)
        axes.set(xlabel=xlabel)
        if axes is axes_list[0] or list(curves) != first:
            axes.legend(frameon=False, fontsize="small")
    axes_list[0].set_ylabel(ylabel)
    return figure


def bands(panels, ylabel):
    """Medians of several runs against steps, with the band from the smallest to the largest.

    Args:
        panels: label of the horizontal axis -> name of the curve -> (steps, values of each run).
        ylabel: of the vertical axis, which is logarithmic.
    """
    figure = new_figure(4.2 * len(panels), 3.6)
    axes_list = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (xlabel, curves) in zip(axes_list, panels.items(), strict=True):
        for k, (name, (steps, runs)) in enumerate(curves.items()):
            low, middle, high = np.quantile(runs, (0, 0.5, 1), axis=0)
            colour = COLOURS[k % len(COLOURS)]
            axes.plot(steps, middle, color=colour, linestyle=LINES[k % len(LINES)], label=name)
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set(xlabel=xlabel, yscale="log")
        without_frame(axes)
        axes.legend(frameon=False, fontsize="small")
    axes_list[0].set_ylabel(ylabel)
    return figure
