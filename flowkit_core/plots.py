"""Pictures: losses of a fit, posteriors beside a reference, densities beside data.

Each function returns a matplotlib figure made without pyplot, so no global state is touched.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowkit_core.extras import require

# Okabe and Ito's palette: told apart by colour-blind readers and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_figure(width: float, height: float) -> Any:
    """An empty figure of that size in inches, bound to no window.

    Raises:
        ImportError: without matplotlib; the message names the command that installs it.
    """
    figure_module = require("matplotlib.figure", extra="plot", purpose="a picture")
    return figure_module.Figure(figsize=(width, height), layout="constrained")


def finished(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """The figure, also written to ``path`` if there is one."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def without_frame(axes: Any) -> None:
    """Leave only the axes that carry numbers."""
    axes.spines[["top", "right"]].set_visible(False)


def loss_curves(
    train: Sequence[float],
    validation: Sequence[float],
    *,
    best_epoch: int,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Training and validation loss against the epoch; the kept epoch is marked.

    Args:
        train: loss of each epoch, nats per row.
        validation: the same on held-out rows; may be empty.
        best_epoch: epoch (from 0) whose weights were kept.
        path: also write the picture there.
    """
    figure = new_figure(6, 3.6)
    axes = figure.subplots()
    epochs = np.arange(1, len(train) + 1)
    axes.plot(epochs, train, color=COLOURS[0], label="training")
    if len(validation):
        axes.plot(epochs, validation, color=COLOURS[1], label="validation")
    axes.axvline(best_epoch + 1, color="0.5", linestyle=":", label=f"kept: epoch {best_epoch + 1}")
    axes.set(xlabel="epoch", ylabel="negative log-likelihood\n(nats per row)")
    # The first epochs would flatten everything that follows.
    shown = np.concatenate([np.asarray(train, float), np.asarray(validation, float)])
    shown = shown[np.isfinite(shown)]
    if len(shown) > 4:
        low, high = shown.min(), np.quantile(shown, 0.95)
        margin = 0.05 * max(high - low, 1e-12)
        axes.set_ylim(low - margin, high + margin)
    axes.legend(frameon=False)
    without_frame(axes)
    return finished(figure, path)


def elbo_curve(
    windows: Sequence[Any],
    *,
    elbo: float,
    stopped: str,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """The ELBO of a guide over the steps of its fit, phase by phase, with its standard error.

    Args:
        windows: records with ``phase``, ``first_step``, ``median`` loss and ``error``.
        elbo: of the weights that were kept.
        stopped: why the fit ended.
        path: also write the picture there.
    """
    figure = new_figure(6, 3.6)
    axes = figure.subplots()
    phases = list(dict.fromkeys(window.phase for window in windows))
    for colour, phase in zip(COLOURS, phases, strict=False):
        of_phase = [w for w in windows if w.phase == phase and np.isfinite(w.median)]
        steps = [w.first_step for w in of_phase]
        values = np.array([-w.median for w in of_phase])
        errors = np.array([w.error for w in of_phase])
        axes.plot(steps, values, color=colour, marker=".", markersize=4, label=phase)
        axes.fill_between(
            steps, values - 2 * errors, values + 2 * errors, color=colour, alpha=0.25, linewidth=0
        )
    axes.axhline(elbo, color="0.5", linestyle=":", label=f"kept: {elbo:.3f}")
    axes.set(xlabel="step", ylabel="ELBO (nats)", title=f"stopped: {stopped}")
    # The first windows would flatten everything that follows.
    shown = np.array([-w.median for w in windows if np.isfinite(w.median)] + [elbo])
    if len(shown) > 4:
        low, high = np.quantile(shown, 0.1), shown.max()
        margin = 0.1 * max(high - low, 1e-3)
        axes.set_ylim(low - margin, high + margin)
    axes.legend(frameon=False)
    without_frame(axes)
    return finished(figure, path)


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
                linewidth=1.5, color=COLOURS[k % len(COLOURS)], label=name,
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
