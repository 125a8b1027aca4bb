"""Pictures of a guide's diagnosis."""

import math
import os
from typing import Any

import numpy as np

from flowkit_core.diagnostics.result import GuideDiagnostics
from flowkit_core.diagnostics.verdict import MAX_SHIFT
from flowkit_core.plots import COLOURS, finished, new_figure, without_frame

# Parameters shown: those that the weights move most.
_ROWS = 20


def weights_and_means(
    found: GuideDiagnostics, *, path: str | os.PathLike[str] | None = None
) -> Any:
    """The tail of the importance weights, and how far they move each mean.

    Left, the largest weights against their rank, raw and smoothed, both axes logarithmic: a Pareto
    tail is a line that falls by khat. Right, the shift of each mean in units of the guide's
    standard deviation; the band is what "good" allows.

    Args:
        found: a diagnosis.
        path: also write the picture there.

    Raises:
        ImportError: without matplotlib.
    """
    shown = sorted(found.parameters, key=lambda p: -abs(p.difference))[:_ROWS]
    figure = new_figure(9, max(3.4, 0.8 + 0.22 * len(shown)))
    left, right = figure.subplots(1, 2)
    _draw_tail(left, found)
    _draw_shifts(right, shown, len(found.parameters))
    return finished(figure, path)


def _draw_tail(axes: Any, found: GuideDiagnostics) -> None:
    n = found.num_samples
    # Twice the tail that the fit is made to, so that one sees where it begins.
    count = min(n, 2 * math.ceil(min(n / 5, 3 * math.sqrt(n))))
    raw = found.log_ratios[np.isfinite(found.log_ratios)]
    if len(raw):  # then the evidence is finite, too
        raw = np.sort(raw - found.log_evidence)[::-1][:count] / math.log(10)
    smoothed = np.sort(found.log_weights[np.isfinite(found.log_weights)])[::-1][:count]
    smoothed = (smoothed + math.log(n)) / math.log(10)
    ranks = np.log10(np.arange(1, count + 1))
    axes.plot(ranks[: len(raw)], raw, ".", color=COLOURS[0], markersize=4, label="raw")
    axes.plot(ranks[: len(smoothed)], smoothed, color=COLOURS[1], label="smoothed")
    axes.axhline(0, color="0.5", linestyle=":", label="all equal")
    axes.set(
        title=f"khat = {found.khat:z.2f} (threshold {found.khat_threshold:.2f})",
        xlabel="rank of the draw (log10)",
        ylabel="weight relative to the mean (log10)",
    )
    low, high = axes.get_ylim()
    if high - low < 0.2:  # equal weights: rounding is not worth a picture
        axes.set_ylim(-0.1, 0.1)
    axes.locator_params(axis="x", nbins=5)
    axes.legend(frameon=False)
    without_frame(axes)


def _draw_shifts(axes: Any, shown: list[Any], total: int) -> None:
    rows = np.arange(len(shown))[::-1]
    shifts = [p.difference for p in shown]
    axes.axvspan(-MAX_SHIFT, MAX_SHIFT, color="0.9", zorder=0, label="good")
    axes.axvline(0, color="0.5", linewidth=1)
    axes.plot(shifts, rows, "o", color=COLOURS[0], markersize=4)
    axes.set_yticks(rows, [p.name for p in shown])
    finite = [abs(s) for s in shifts if math.isfinite(s)]
    limit = 1.1 * max([2 * MAX_SHIFT, *finite])
    title = "means" if len(shown) == total else f"means: the {len(shown)} of {total} that move most"
    axes.set(
        title=title,
        xlim=(-limit, limit),
        ylim=(-0.7, max(len(shown), 1) - 0.3),
        xlabel="weighted - raw, in sds of the guide",
    )
    axes.locator_params(axis="x", nbins=5)
    axes.legend(frameon=False)
    without_frame(axes)
