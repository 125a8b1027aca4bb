"""Posteriors two quantities at a time."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit_core.entries import entry_names
from flowkit_core.plots.arrays import Floats, levels_of_mass, smoothed, window
from flowkit_core.plots.style import COLOURS, LINES, finished, new_figure, without_frame

# More panels than these squared are too small to read.
_MAX_QUANTITIES = 10
_BINS = 60
_MASSES = (0.9, 0.5)
# Of Scott's bandwidth, which is made for Normals and blurs funnels and ridges.
_SHARPER = 0.8

Columns = dict[str, Floats]


def corner(
    draws: Mapping[str, Mapping[str, ArrayLike]],
    *,
    reference: Mapping[str, ArrayLike] | None = None,
    quantities: Sequence[str] | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Posteriors of several approximations, two quantities at a time, over reference draws.

    Below the diagonal, the regions of highest density that hold 50 and 90 % of the draws; on it,
    densities of single quantities. The reference is grey, approximations are lines. Densities are
    histograms, smoothed by 0.8 of Scott's bandwidth. The window is that of 98 % of the reference, a
    quarter wider on either side: what an approximation has beyond does not show.

    Args:
        draws: ``draws[approximation][site]``, arrays (n, ...), as ``sample_posterior`` and
            `importance_resample` return them. An array-valued site is as many quantities as it
            has entries, "theta[0]", "theta[1]" and so on.
        reference: draws to compare with, such as those of NUTS; ``reference[site]``.
        quantities: those to show, in this order; all of them by default.
        path: also write the picture there.

    Raises:
        ImportError: without matplotlib.
        ValueError: without draws, for a quantity that one of them lacks, for more than ten, for
            draws that are not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sites = {"mu": rng.normal(size=500), "theta": rng.normal(size=(500, 2))}
        >>> len(corner({"flow": sites}, quantities=["mu", "theta[1]"]).axes)
        4
    """
    columns = {name: _columns(f"draws[{name!r}]", sites) for name, sites in draws.items()}
    behind = None if reference is None else _columns("reference", reference)
    everyone = [*columns.values(), *([] if behind is None else [behind])]
    if not columns:
        raise ValueError("draws: expected those of at least one approximation, got none")
    shown = _shown(quantities, {**columns, **({} if behind is None else {"reference": behind})})
    frames = {name: _frame(name, behind, everyone) for name in shown}
    count = len(shown)
    figure = new_figure(max(2.1 * count, 4.2), max(2.0 * count, 4.0))
    grid = figure.subplots(count, count, squeeze=False, sharex="col")
    for i, row in enumerate(shown):
        for j, column in enumerate(shown):
            axes = grid[i][j]
            if j > i:
                axes.set_visible(False)
                continue
            pair = (column,) if i == j else (column, row)
            if behind is not None:
                _draw(axes, behind, pair, frames, None)
            for k, one in enumerate(columns.values()):
                _draw(axes, one, pair, frames, k)
            axes.set_xlim(frames[column])
            _label(axes, column if i == count - 1 else "", "" if i == j or j else row)
            if i == j:
                axes.set_ylim(bottom=0)
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
            else:
                axes.set_ylim(frames[row])
                axes.tick_params(labelleft=j == 0)
    handles = _handles(grid[0][0], columns, behind is not None)
    figure.legend(handles=handles, loc="upper right", frameon=False)
    return finished(figure, path)


def _columns(name: str, sites: Mapping[str, ArrayLike]) -> Columns:
    """Every number of every site, (n,) each."""
    found: Columns = {}
    for site, values in sites.items():
        array = np.asarray(values, float)
        if array.ndim == 0 or len(array) < 2:
            raise ValueError(f"{name}[{site!r}]: expected draws (n, ...), got shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}[{site!r}]: expected finite draws, got some that are not")
        flat = array.reshape(len(array), -1)
        found.update(zip(entry_names(site, array.shape[1:]), flat.T, strict=True))
    return found


def _shown(quantities: Sequence[str] | None, found: Mapping[str, Columns]) -> list[str]:
    first = next(iter(found.values()))
    shown = list(first if quantities is None else quantities)
    for name, columns in found.items():
        if lacking := [quantity for quantity in shown if quantity not in columns]:
            raise ValueError(
                f"quantities: expected ones that {name!r} has, {', '.join(columns)}; got "
                f"{', '.join(lacking)}"
            )
    if not 1 <= len(shown) <= _MAX_QUANTITIES:
        raise ValueError(f"quantities: expected 1 to {_MAX_QUANTITIES} to show, got {len(shown)}")
    return shown


def _frame(name: str, behind: Columns | None, everyone: list[Columns]) -> tuple[float, float]:
    """The reference's window, a quarter wider; everyone's without a reference."""
    if behind is not None:
        low, high = window(behind[name][:, None], tail=0.01, margin=0.25)
    else:
        pooled = np.concatenate([columns[name] for columns in everyone])[:, None]
        low, high = window(pooled, tail=0.01, margin=0.25)
    return float(low[0]), float(high[0])


def _draw(
    axes: Any, columns: Columns, pair: tuple[str, ...], frames: Any, index: int | None
) -> None:
    """One set of draws in one panel; the reference if ``index`` is None."""
    values = np.stack([columns[name] for name in pair], 1)
    frame = [frames[name] for name in pair]
    density, edges = np.histogramdd(values, bins=_BINS, range=frame)
    scott = _SHARPER * len(values) ** (-1 / (len(pair) + 4))
    cells = [(high - low) / _BINS for low, high in frame]
    low, high = np.quantile(values, [0.25, 0.75], axis=0)
    # Of a Normal, (high - low) / 1.349 is the sd; a heavy tail must not blur all the rest.
    spread = np.minimum(values.std(0), 1.5 * (high - low) / 1.349)
    bandwidths = [max(scott * s / cell, 0.5) for s, cell in zip(spread, cells, strict=True)]
    density = smoothed(density, bandwidths) / (len(values) * np.prod(cells))
    middles = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
    look = _look(index)
    if len(pair) == 1 and index is None:
        axes.fill_between(middles[0], density, color="0.8", linewidth=0)
    elif len(pair) == 1:
        axes.plot(middles[0], density, **look)
    else:
        levels = np.unique(levels_of_mass(density, _MASSES))
        if levels[-1] == 0:  # nothing in the window
            return
        if index is None:
            axes.contourf(*middles, density.T, levels=[*levels, np.inf], colors=["0.85", "0.65"])
        else:
            axes.contour(*middles, density.T, levels=levels, colors=look["color"],
                         linestyles=look["linestyle"], linewidths=look["linewidth"])  # fmt: skip


def _look(index: int | None) -> dict[str, Any]:
    if index is None:
        return {"color": "0.65", "linewidth": 6, "linestyle": "-"}
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINES[index % len(LINES)],
        "linewidth": 1.4,
    }


def _label(axes: Any, xlabel: str, ylabel: str) -> None:
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.locator_params(nbins=4)
    without_frame(axes)


def _handles(axes: Any, columns: Mapping[str, Columns], with_reference: bool) -> list[Any]:
    """Lines for the legend, drawn nowhere."""
    looks = {name: _look(k) for k, name in enumerate(columns)}
    if with_reference:
        looks = {"reference": _look(None), **looks}
    return [axes.plot([], [], label=name, **look)[0] for name, look in looks.items()]
