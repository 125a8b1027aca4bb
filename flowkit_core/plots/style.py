"""The look that all pictures share."""

import os
from typing import Any

from flowkit_core.extras import require

# Okabe and Ito's palette: told apart by colour-blind readers and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# What tells curves and bars apart in black and white, where colours do not.
LINES = ("-", "--", "-.", ":")
MARKERS = "osD^vP"
HATCHES = ("", "////", "....", "xxxx")


def new_figure(width: float, height: float) -> Any:
    """An empty figure of that size in inches, bound to no window; notebooks show it as it is.

    Raises:
        ImportError: without matplotlib; the message names the command that installs it.
    """
    require("matplotlib.figure", extra="plot", purpose="a picture")
    from flowkit_core.plots.figure import Figure  # it needs matplotlib at once

    return Figure(figsize=(width, height), layout="constrained")


def finished(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """The figure, also written to ``path`` if there is one."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def without_frame(axes: Any) -> None:
    """Leave only the axes that carry numbers."""
    axes.spines[["top", "right"]].set_visible(False)
