"""Pictures of the diagnoses of guides."""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from flowkit_core.diagnostics.psis import Floats
from flowkit_core.diagnostics.result import GuideDiagnostics
from flowkit_core.diagnostics.verdict import MAX_SHIFT
from flowkit_core.plots import COLOURS, LINES, MARKERS, finished, new_figure, without_frame

Curve = tuple[Floats, Floats]
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


def khat_tails(
    found: Mapping[str, GuideDiagnostics], *, path: str | os.PathLike[str] | None = None
) -> Any:
    """The tails of the importance weights of several guides, and their khat beside the threshold.

    Left, the largest weights against their rank, both axes logarithmic, with the fitted Pareto
    tails as lines: they fall by khat, the flatter the better. Right, khat; up to the threshold (of
    the fewest draws, if their numbers differ) the weights are reliable. An infinite khat is drawn
    at the edge.

    Args:
        found: title -> diagnosis.
        path: also write the picture there.

    Raises:
        ImportError: without matplotlib.
        ValueError: if there are no diagnoses.

    Example:
        >>> from flowkit_core.diagnostics import diagnose_draws
        >>> x = np.random.default_rng(0).normal(size=1000)
        >>> guides = {"near": diagnose_draws(0.1 * x, {}), "far": diagnose_draws(x**2, {})}
        >>> [axes.get_title() for axes in khat_tails(guides).axes]
        ['largest importance weights', 'khat: reliable up to 0.67']
    """
    if not found:
        raise ValueError("found: expected at least one diagnosis, got none")
    figure = new_figure(9, max(3.4, 1.4 + 0.4 * len(found)))
    left, right = figure.subplots(1, 2)
    for k, (title, one) in enumerate(found.items()):
        raw, smoothed = _tail(one)
        look = {"color": COLOURS[k % len(COLOURS)]}
        marker, line = MARKERS[k % len(MARKERS)], LINES[k % len(LINES)]
        left.plot(*raw, marker, markersize=3, alpha=0.4, markeredgewidth=0, **look)
        left.plot(*smoothed, linestyle=line, marker=marker, markevery=[0], label=title, **look)
    left.set(title="largest importance weights")
    _label_tail(left)
    _draw_khats(right, found)
    return finished(figure, path)


def _draw_khats(axes: Any, found: Mapping[str, GuideDiagnostics]) -> None:
    rows = np.arange(len(found))[::-1]
    threshold = min(one.khat_threshold for one in found.values())
    finite = [one.khat for one in found.values() if math.isfinite(one.khat)]
    low, high = min([-0.1, *finite]) - 0.1, max([1.0, *finite]) + 0.1
    axes.axvspan(low - 0.1, threshold, color="0.9", zorder=0)
    axes.axvline(threshold, color="0.3", linestyle=":")
    for k, (row, one) in enumerate(zip(rows, found.values(), strict=True)):
        at = min(max(one.khat, low), high)
        look = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
        axes.plot([at], [row], linestyle="none", markersize=7, **look)
        axes.annotate(
            f"{one.khat:z.2f}", (at, row), (0, 7), textcoords="offset points", ha="center",
            fontsize="small",
        )  # fmt: skip
    axes.set_yticks(rows, list(found))
    axes.set(
        title=f"khat: reliable up to {threshold:.2f}", xlabel="khat",
        xlim=(low - 0.1, high + 0.1), ylim=(-0.6, len(found) - 0.4),
    )  # fmt: skip
    without_frame(axes)


def _tail(found: GuideDiagnostics) -> tuple[Curve, Curve]:
    """The largest weights relative to their mean against their ranks, log10: raw, smoothed."""
    n = found.num_samples
    # Twice the tail that the fit is made to, so that one sees where it begins.
    count = min(n, 2 * math.ceil(min(n / 5, 3 * math.sqrt(n))))
    raw = found.log_ratios[np.isfinite(found.log_ratios)]
    if len(raw):  # then the evidence is finite, too
        raw = np.sort(raw - found.log_evidence)[::-1][:count] / math.log(10)
    smoothed = np.sort(found.log_weights[np.isfinite(found.log_weights)])[::-1][:count]
    smoothed = (smoothed + math.log(n)) / math.log(10)
    ranks = np.log10(np.arange(1, count + 1))
    return (ranks[: len(raw)], raw), (ranks[: len(smoothed)], smoothed)


def _draw_tail(axes: Any, found: GuideDiagnostics) -> None:
    raw, smoothed = _tail(found)
    axes.plot(*raw, ".", color=COLOURS[0], markersize=4, label="raw")
    axes.plot(*smoothed, color=COLOURS[1], label="smoothed")
    axes.set(title=f"khat = {found.khat:z.2f} (threshold {found.khat_threshold:.2f})")
    _label_tail(axes)


def _label_tail(axes: Any) -> None:
    axes.axhline(0, color="0.5", linestyle=":", label="all equal")
    axes.set(xlabel="rank of the draw (log10)", ylabel="weight relative to the mean (log10)")
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
