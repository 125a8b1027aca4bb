"""The epochs of a fit: early stopping, best weights, progress, resuming. Knows no framework."""

import hashlib
import math
import os
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowkit_core.fitting.progress import progress_bar
from flowkit_core.fitting.settings import FitSettings
from flowkit_core.fitting.state import Arrays, FitState
from flowkit_core.specs import FlowSpec


class Trainer(Protocol):
    """What a wing provides: one epoch of steps, the held-out loss, its state as arrays."""

    def train_epoch(
        self, batches: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> tuple[float, int]:
        """Take one step per batch; return the mean finite loss and how many steps were skipped."""

    def held_out_loss(self) -> float:
        """Mean negative log-likelihood of the held-out rows."""

    def weights(self) -> Arrays:
        """A copy of the weights."""

    def set_weights(self, arrays: Arrays) -> None:
        """Put weights back."""

    def state(self) -> Arrays:
        """A copy of everything the next step depends on: weights and the optimiser's moments."""

    def set_state(self, arrays: Arrays) -> None:
        """Put such a copy back."""


def run_fit(
    trainer: Trainer,
    settings: FitSettings,
    *,
    architecture: FlowSpec | None,
    num_train: int,
    num_held_out: int,
    progress: bool,
    checkpoint: str | os.PathLike[str] | None,
) -> tuple[FitState, str]:
    """Run the epochs and leave the trainer with the best weights.

    Args:
        trainer: does the steps.
        settings: see `FitSettings`.
        architecture: of the flow that is fitted; None if it has no spec.
        num_train: rows trained on.
        num_held_out: rows held out; without any, the training loss decides what is best.
        progress: show a progress bar on standard error.
        checkpoint: file of the fit's state, written after every epoch. If it exists, the fit
            goes on from there, and ends as if it had never been interrupted.

    Returns:
        The final state and why it ended: "epochs", "patience" or "diverged".
    """
    weights = trainer.weights()
    state = FitState(best=weights)
    num_rows, flow = num_train + num_held_out, _name(architecture)
    if checkpoint is not None and Path(checkpoint).exists():
        state = FitState.read(checkpoint, settings, num_rows, flow)
        if layout(state.best) != layout(weights):
            raise ValueError(
                f"{checkpoint}: it belongs to a fit of another flow; expected the weights "
                f"{layout(weights)}, got {layout(state.best)}"
            )
        trainer.set_state(state.current)
    with progress_bar(progress, settings.num_epochs, state.epoch, unit="epoch") as bar:
        while not _why_ended(state, settings):
            loss, skipped = trainer.train_epoch(
                settings.batches(num_train, state.epoch), settings.rates(num_train, state.epoch)
            )
            state.skipped_steps += skipped
            state.train_losses.append(loss)
            if num_held_out:
                state.validation_losses.append(trainer.held_out_loss())
            losses = state.validation_losses or state.train_losses
            best = losses[state.best_epoch] if state.best_epoch >= 0 else math.inf
            if losses[-1] < best:  # False for NaN, so a diverged epoch is never the best
                state.best_epoch = state.epoch
                state.best = trainer.weights()
            state.epoch += 1
            if checkpoint is not None:
                state.current = trainer.state()
                state.write(checkpoint, settings, num_rows, flow)
            bar.set_postfix_str(f"loss {losses[-1]:.4f}, best {min(best, losses[-1]):.4f}")
            bar.update()
    stopped = _why_ended(state, settings)
    trainer.set_weights(state.best)
    state.best_epoch = max(state.best_epoch, 0)
    return state, stopped


def _why_ended(state: FitState, settings: FitSettings) -> str:
    """Empty while the fit goes on. It follows from the state, so a finished fit stays finished."""
    if state.train_losses and not math.isfinite(state.train_losses[-1]):
        return "diverged"
    if state.best_epoch >= 0 and state.epoch - 1 - state.best_epoch >= settings.patience:
        return "patience"
    return "epochs" if state.epoch >= settings.num_epochs else ""


def _name(architecture: FlowSpec | None) -> str:
    """Short, and different for different architectures; empty for a flow without a spec."""
    if architecture is None:
        return ""
    digest = hashlib.sha256(architecture.to_json().encode()).hexdigest()[:16]
    return f"{architecture.kind} of {architecture.input_dim} coordinates, {digest}"


def layout(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shapes and dtypes by name, to tell one flow's weights from another's."""
    return {name: (a.shape, str(a.dtype)) for name, a in sorted(arrays.items())}
