"""Pictures of results, in the look of `flowkit_core.plots`."""

from flowkit_core.plots import COLOURS, new_figure

MARKERS = "osD^vP"
LINES = ("-", "--", "-.", ":")


def log_log(panels, ylabel):
    """Curves of seconds against sizes, shown as milliseconds.

    Colour, marker and dashes all differ, so that curves are told apart in black and white too.

    Args:
        panels: label of the horizontal axis -> name of the curve -> (sizes, seconds).
        ylabel: of the vertical axis.
    """
    figure = new_figure(4.2 * len(panels), 3.6)
    axes_list = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for axes, (xlabel, curves) in zip(axes_list, panels.items(), strict=True):
        ticks = sorted({size for sizes, _ in curves.values() for size in sizes})
        for name, (sizes, seconds) in curves.items():
            k = names.index(name)
            axes.loglog(
                sizes,
                [1e3 * value for value in seconds],
                color=COLOURS[k % len(COLOURS)],
                marker=MARKERS[k % len(MARKERS)],
                linestyle=LINES[k % len(LINES)],
                markersize=4,
                label=name,
            )
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel=xlabel)
        axes.spines[["top", "right"]].set_visible(False)
    axes_list[0].set_ylabel(ylabel)
    axes_list[0].legend(frameon=False, fontsize="small")
    return figure
