"""Curves of fits: losses over epochs, the ELBO over steps."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowkit_core.plots.style import COLOURS, LINES, finished, new_figure, without_frame


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
        axes.plot(epochs, validation, LINES[1], color=COLOURS[1], label="validation")
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
    for k, phase in enumerate(phases):
        colour, line = COLOURS[k % len(COLOURS)], LINES[k % len(LINES)]
        of_phase = [w for w in windows if w.phase == phase and np.isfinite(w.median)]
        steps = [w.first_step for w in of_phase]
        values = np.array([-w.median for w in of_phase])
        errors = np.array([w.error for w in of_phase])
        axes.plot(steps, values, line, color=colour, marker=".", markersize=4, label=phase)
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
