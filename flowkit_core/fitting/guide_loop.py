"""The steps of a guide's fit, window by window, until its plan ends it. Knows no framework."""

import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flowkit_core.fitting.guide_plan import GuidePlan, Window
from flowkit_core.fitting.guide_state import GuideFitState
from flowkit_core.fitting.loop import layout
from flowkit_core.fitting.processes import Alone, Processes
from flowkit_core.fitting.progress import progress_bar
from flowkit_core.fitting.state import Arrays
from flowkit_core.safe_file import CheckpointError

# Share of a time budget after which the rate begins to fall.
_TIME_SHARE_OF_DECAY = 0.3


class GuideTrainer(Protocol):
    """What a wing provides: steps, an estimate of the ELBO, its weights and state as arrays."""

    def run(self, window: Window, *, seed: tuple[int, int]) -> tuple[NDArray[np.float64], int]:
        """Take the steps of a window.

        Returns:
            The loss (negative ELBO) of every step, NaN where it was not finite, and how many steps
            were skipped because loss or gradient was not finite.
        """

    def evaluate(self, weights: Arrays) -> tuple[float, float]:
        """ELBO at these weights and its standard error, always from the same draws."""

    def weights(self) -> Arrays:
        """A copy of the weights."""

    def average(self) -> Arrays:
        """Mean of the weights over the steps that were to be averaged; empty without any."""

    def set_weights(self, arrays: Arrays) -> None:
        """Put weights back, and start the optimiser and the average anew."""

    def state(self) -> Arrays:
        """A copy of everything the next step depends on."""

    def set_state(self, arrays: Arrays) -> None:
        """Put such a copy back."""


def run_guide_fit(
    trainer: GuideTrainer,
    plan: GuidePlan,
    *,
    progress: bool,
    max_seconds: float,
    checkpoint: str | os.PathLike[str] | None,
    processes: Processes | None = None,
) -> tuple[GuideFitState, float, float]:
    """Run the windows and leave the trainer with the weights of the best ELBO.

    An interrupt (Ctrl-C) ends the fit as if its budget were spent: the best weights so far are
    kept, and the checkpoint holds the last complete window. Of several processes one alone cannot
    decide so: there an interrupt is raised, and the checkpoint is what is left.

    Args:
        trainer: does the steps.
        plan: decides what they are.
        progress: show a progress bar on standard error.
        max_seconds: time budget, infinity for none.
        checkpoint: file of the fit's state, written after every window. If it exists, the fit goes
            on from there, and ends as if it had never been interrupted; one whose time ran out
            before its rate had fallen goes on with this call's time.
        processes: those that run this fit together; the first has the clock, the file and the bar.

    Returns:
        The final state; ELBO of the weights that were kept, and its standard error.
    """
    settings, group = plan.settings, processes or Alone()
    start = trainer.weights()
    state = GuideFitState(phase=plan.first_phase, rate=settings.learning_rate, best=start)
    identity = settings.to_dict()
    if group.size > 1:  # what is drawn depends on it
        identity["num_processes"] = group.size

    def read() -> GuideFitState | None:
        is_there = checkpoint is not None and Path(checkpoint).exists()
        return GuideFitState.read(checkpoint, identity) if checkpoint and is_there else None

    found = None if checkpoint is None else group.first(read)
    if found is not None:
        state = found
        if layout(state.best) != layout(start):
            raise ValueError(
                f"{checkpoint}: it belongs to a fit of another guide; expected the weights "
                f"{layout(start)}, got {layout(state.best)}"
            )
        held, needed = layout(state.current), layout(trainer.state())
        if not needed.items() <= held.items():
            raise CheckpointError(f"{checkpoint}: expected the arrays {needed}, got {held}")
        trainer.set_state(state.current)
        if state.stopped == "time" and not (
            state.phase == "decay" and state.step >= state.decay_end
        ):
            state.stopped = ""  # it was cut short, and this call brings time of its own
    began, first_step = time.monotonic(), state.step
    with progress_bar(
        progress and group.rank == 0, settings.num_steps, state.step, unit="step"
    ) as bar:
        try:
            while not state.stopped:
                before = state.step
                _run_window(trainer, plan, state)
                elapsed = group.first(lambda: time.monotonic() - began)
                _watch_the_clock(plan, state, state.step - first_step, elapsed, max_seconds)
                if checkpoint is not None:
                    state.current = trainer.state()
                    group.first(partial(state.write, checkpoint, identity))
                bar.set_postfix_str(_told(state))
                bar.update(state.step - before)
        except KeyboardInterrupt:
            if group.size > 1:
                raise
            state.stopped = "interrupted"
    return state, *_keep_best(trainer, state)


def _run_window(trainer: GuideTrainer, plan: GuidePlan, state: GuideFitState) -> None:
    window = plan.next_window(state)
    losses, skipped = trainer.run(window, seed=(plan.settings.seed, state.step))
    if plan.advance(state, losses, skipped):
        trainer.set_weights(state.best)
    elif state.windows[-1].median < state.best_median:
        state.best_median = state.windows[-1].median
        state.best = trainer.weights()


def _watch_the_clock(
    plan: GuidePlan, state: GuideFitState, steps: int, elapsed: float, max_seconds: float
) -> None:
    """End the fit when its time is up, and let the rate fall before that.

    Args:
        plan: of the fit.
        state: of the fit.
        steps: taken while the clock ran.
        elapsed: seconds since it was started.
        max_seconds: time budget.
    """
    if elapsed >= max_seconds:
        state.stopped = state.stopped or "time"
    elif elapsed >= (1 - _TIME_SHARE_OF_DECAY) * max_seconds and state.phase != "decay":
        steps_left = (max_seconds - elapsed) * steps / elapsed
        plan.hurry(state, max(plan.settings.window, int(0.9 * steps_left)))


def _keep_best(trainer: GuideTrainer, state: GuideFitState) -> tuple[float, float]:
    """Of the last, the best and the averaged weights, keep those with the highest ELBO."""
    candidates = [trainer.weights(), trainer.average(), state.best]
    rated = [(*trainer.evaluate(arrays), arrays) for arrays in candidates if arrays]
    usable = [r for r in rated if math.isfinite(r[0])]
    elbo, stderr, arrays = max(usable or rated[-1:], key=lambda r: r[0])
    trainer.set_weights(arrays)
    return elbo, stderr


def _told(state: GuideFitState) -> str:
    last = state.windows[-1]
    return f"ELBO {-last.median:.3f} +- {last.error:.3f}, {state.phase}"
