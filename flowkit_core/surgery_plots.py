"""Pictures of ELBO surgery."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowkit_core.plots import COLOURS, HATCHES, finished, new_figure, without_frame
from flowkit_core.surgery.estimate import Bounds, Estimate
from flowkit_core.surgery.result import ElboSurgery


def surgery_bars(
    surgeries: Mapping[str, ElboSurgery], *, path: str | os.PathLike[str] | None = None
) -> Any:
    """The average KL of each surgery as a bar of two parts, and its reconstruction beside it.

    Left, the mutual information and the marginal KL add up to the average KL; the dotted line is
    log n, the most that the information can be. Right, the negative reconstruction and the
    average KL add up to the negative ELBO. Error bars are three standard errors.

    Args:
        surgeries: title -> `ElboSurgery`.
        path: also write the picture there.

    Raises:
        ImportError: without matplotlib.
        ValueError: if there are no surgeries.
    """
    if not surgeries:
        raise ValueError("surgeries: expected at least one, got none")
    with_likelihood = all(found.elbo is not None for found in surgeries.values())
    figure = new_figure(10 if with_likelihood else 6, 1.8 + 0.5 * len(surgeries))
    axes = figure.subplots(1, 2 if with_likelihood else 1, squeeze=False)[0]
    titles, found = list(surgeries), list(surgeries.values())
    _stack(axes[0], titles, [
        ("mutual information", [_middle(one.mutual_information) for one in found]),
        ("marginal KL", [_middle(one.marginal_kl) for one in found]),
    ], [one.avg_kl for one in found])  # fmt: skip
    for log_n in sorted({one.log_n for one in found}):
        axes[0].axvline(log_n, color="0.3", linestyle=":", label=f"log n = {log_n:.2f}")
    axes[0].set(title="average KL", xlabel="nats per data point")
    if with_likelihood:
        _stack(axes[1], titles, [
            ("- reconstruction", [-_value(one.reconstruction) for one in found]),
            ("average KL", [one.avg_kl.value for one in found]),
        ], [_negative(one.elbo) for one in found], first_colour=2)  # fmt: skip
        axes[1].set(title="- ELBO", xlabel="nats per data point")
    # One legend below both: the layout leaves it room, whatever the number of bars.
    figure.legend(loc="outside lower center", frameon=False, ncols=3 if len(axes) == 1 else 5)
    return finished(figure, path)


def dimension_bars(
    parts: Mapping[str, ArrayLike],
    *,
    ylabel: str = "nats",
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """A bar for each latent, largest first; several series share the first one's order.

    Args:
        parts: title -> number of each latent, (d,), such as KLs.
        ylabel: what the numbers are.
        path: also write the picture there.

    Raises:
        ImportError: without matplotlib.
        ValueError: if there are no series, or of different lengths.
    """
    series = {title: np.asarray(values, float) for title, values in parts.items()}
    shapes = {values.shape for values in series.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"parts: expected series of one length, got shapes {sorted(shapes)}")
    order = np.argsort(-next(iter(series.values())))
    figure = new_figure(min(2 + 0.25 * len(order) * len(series), 10), 3.4)
    axes = figure.subplots()
    width = 0.8 / len(series)
    at = np.arange(len(order))
    for index, (title, values) in enumerate(series.items()):
        shift = (index - (len(series) - 1) / 2) * width
        axes.bar(
            at + shift, values[order], width, color=COLOURS[index % len(COLOURS)],
            hatch=HATCHES[index % len(HATCHES)], edgecolor="white", linewidth=0, label=title,
        )  # fmt: skip
    step = max(len(order) // 20, 1)
    axes.set_xticks(at[::step], [str(i) for i in order[::step]])
    axes.set(xlabel="latent", ylabel=ylabel)
    axes.legend(frameon=False)
    without_frame(axes)
    return finished(figure, path)


def projections(
    draws: ArrayLike,
    prior_draws: ArrayLike,
    *,
    pairs: tuple[tuple[int, int], ...] = ((0, 1),),
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draws of the aggregated posterior beside draws of the prior, two latents at a time.

    Args:
        draws: of the aggregated posterior, (n, d): ``ElboSurgery.draws``.
        prior_draws: of the prior, (m, d).
        pairs: which latents.
        path: also write the picture there.

    Raises:
        ImportError: without matplotlib.
        ValueError: for draws of different dimension or latents that there are not.
    """
    sides = [np.asarray(draws, float), np.asarray(prior_draws, float)]
    if any(side.ndim != 2 for side in sides) or sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(
            f"draws, prior_draws: expected shapes (n, d) and (m, d), got {sides[0].shape} and "
            f"{sides[1].shape}"
        )
    dim = sides[0].shape[1]
    if any(not 0 <= latent < dim for pair in pairs for latent in pair):
        raise ValueError(f"pairs: expected latents from 0 to {dim - 1}, got {pairs}")
    figure = new_figure(7, 3.4 * len(pairs))
    axes = figure.subplots(len(pairs), 2, squeeze=False, sharex="row", sharey="row")
    for row, (first, second) in zip(axes, pairs, strict=True):
        named = zip(row, sides, ("aggregated posterior", "prior"), COLOURS[:2], strict=True)
        for one, side, title, colour in named:
            one.plot(side[:, first], side[:, second], ".", color=colour, markersize=2, alpha=0.5)
            one.set(title=title, xlabel=f"latent {first}", aspect="equal")
            without_frame(one)
        row[0].set_ylabel(f"latent {second}")
    return finished(figure, path)


def _stack(
    axes: Any,
    titles: list[str],
    parts: list[tuple[str, list[float]]],
    sums: list[Estimate],
    first_colour: int = 0,
) -> None:
    """Horizontal bars of parts that add up; the error bar is the sum's."""
    rows = np.arange(len(titles))[::-1]
    left = np.zeros(len(titles))
    for index, (label, widths) in enumerate(parts):
        colour = COLOURS[first_colour + index]
        axes.barh(
            rows, widths, left=left, height=0.6, color=colour, hatch=HATCHES[index],
            edgecolor="white", linewidth=0, label=label,
        )  # fmt: skip
        left = left + np.array(widths)
    axes.errorbar(
        left, rows, xerr=[3 * one.stderr for one in sums], fmt="none", ecolor="black", capsize=3
    )
    axes.set_yticks(rows, titles)
    axes.set_ylim(-0.6, len(titles) - 0.4)
    without_frame(axes)


def _middle(part: Estimate | Bounds) -> float:
    """Of bounds their middle, so that the parts still add up."""
    if isinstance(part, Bounds):
        return (part.lower.value + part.upper.value) / 2
    return part.value


def _value(part: Estimate | None) -> float:
    return 0.0 if part is None else part.value


def _negative(part: Estimate | None) -> Estimate:
    return Estimate(0.0, 0.0) if part is None else Estimate(-part.value, part.stderr)
