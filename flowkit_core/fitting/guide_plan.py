"""The phases of a guide's fit: what the next steps are, judged by the losses so far.

1. *total*: total gradient at the full learning rate, which is safe far from the posterior.
2. *path*: path gradient, whose variance vanishes as the guide becomes the posterior.
3. *decay*: the same gradient while the rate falls along a cosine; weights are averaged.

A phase of constant rate ends when the ELBO has stopped improving, by this rule: through the
medians of the last `TREND` windows of steps a line is laid by least squares; if the gain that it
foretells for as many windows again is below `TOLERANCE` nats, or within two of its standard errors,
the phase is over. Medians, because a single draw from a tail can move a mean by any amount.

A window whose median is worse than the best one by more than `FALL` nats and ten standard errors
sends the fit back to the best weights, at half the rate; after the second time the total gradient
is used to the end.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowkit_core.fitting.guide_settings import GuideFitSettings
from flowkit_core.fitting.guide_state import GuideFitState, WindowRecord

TREND = 10
TOLERANCE = 1e-3
FALL = 1.0
RAMP = 100
_SHARE_OF_TOTAL = 0.2
_SHARE_OF_DECAY = 0.3
_LAST_RATE = 0.01
_MAX_FALLS = 5


@dataclass(frozen=True)
class Window:
    """Steps to take: one learning rate for each, by which gradient, and whether to average."""

    rates: NDArray[np.float64]
    path_gradient: bool
    average: bool


class GuidePlan:
    """Decides on the next window and moves a state on when it is done.

    Args:
        settings: of the fit.
        has_path_gradient: whether the guide has path gradients at all.
    """

    def __init__(self, settings: GuideFitSettings, *, has_path_gradient: bool) -> None:
        self.settings = settings
        self.paths = has_path_gradient and settings.gradient != "total"
        self.first_phase = "path" if self.paths and settings.gradient == "path" else "total"

    def next_window(self, state: GuideFitState) -> Window:
        """The steps that come next."""
        end = state.decay_end if state.phase == "decay" else self._end_of(state.phase)
        count = max(1, min(self.settings.window, end - state.step))
        since = state.step - state.phase_start + np.arange(count)
        rates = np.full(count, state.rate)
        if state.phase == "decay":
            progress = since / max(1, state.decay_end - state.phase_start)
            low = _LAST_RATE * state.rate
            rates = low + (state.rate - low) * 0.5 * (1 + np.cos(math.pi * progress))
        else:
            rates *= np.minimum(1.0, (since + 1) / min(RAMP, self.settings.window))
        return Window(rates, self._path_gradient(state), average=state.phase == "decay")

    def _path_gradient(self, state: GuideFitState) -> bool:
        return self.paths and state.phase != "total" and state.falls < 2

    def advance(self, state: GuideFitState, losses: NDArray[np.float64], skipped: int) -> bool:
        """Record a window and choose the phase of the next; True if the fit has to fall back."""
        record = WindowRecord.of(state, losses)
        state.windows.append(record)
        state.losses.extend(float(loss) for loss in losses)
        state.step += len(losses)
        state.skipped_steps += skipped
        has_fallen = self._has_fallen(state, record)
        if has_fallen:
            state.falls += 1
            state.rate /= 2
            self._enter(state, state.phase)
        if state.falls > _MAX_FALLS:
            state.stopped = "diverged"
        else:
            self._move_on(state)
        return has_fallen

    def _move_on(self, state: GuideFitState) -> None:
        """Enter the next phase, or stop, where it is time to."""
        if state.phase == "decay":
            if state.step >= state.decay_end:
                state.stopped = state.ending
        elif (flat := self._is_flat(state)) or state.step >= self._end_of(state.phase):
            if state.phase == "total" and self.paths:
                self._enter(state, "path")
            else:
                state.ending = "converged" if flat else "steps"
                self._start_decay(state, self._usual_decay(state))
        if not state.stopped and state.step >= self.settings.num_steps:
            state.stopped = "steps"

    def hurry(self, state: GuideFitState, num_steps: int) -> None:
        """Let the rate fall from here on, within that many steps, because a clock asks for it."""
        state.ending = "time"
        self._start_decay(state, num_steps)

    def _usual_decay(self, state: GuideFitState) -> int:
        most = self.settings.num_steps - self._end_of("path")
        return max(TREND * self.settings.window, min(most, state.step // 2))

    def _start_decay(self, state: GuideFitState, num_steps: int) -> None:
        self._enter(state, "decay")
        state.decay_end = min(self.settings.num_steps, state.step + num_steps)

    @staticmethod
    def _enter(state: GuideFitState, phase: str) -> None:
        state.phase = phase
        state.phase_start = state.step
        state.phase_window = len(state.windows)

    def _end_of(self, phase: str) -> int:
        """The step at which a phase of constant rate has used up its share of the budget."""
        is_first = phase == "total" and self.paths
        share = _SHARE_OF_TOTAL if is_first else 1 - _SHARE_OF_DECAY
        return max(1, int(share * self.settings.num_steps))

    def _has_fallen(self, state: GuideFitState, record: WindowRecord) -> bool:
        if not math.isfinite(record.median):
            return True
        best = state.best_median
        return record.median > best + max(FALL, 10 * record.error) if best < math.inf else False

    @staticmethod
    def _is_flat(state: GuideFitState) -> bool:
        recent = state.windows[state.phase_window :][-TREND:]
        if len(recent) < TREND:
            return False
        at = np.arange(TREND) - (TREND - 1) / 2
        weights = at / (at @ at)
        gain = -TREND * float(weights @ np.array([w.median for w in recent]))
        error = TREND * math.sqrt(float(weights**2 @ np.array([w.error for w in recent]) ** 2))
        return gain < max(TOLERANCE, 2 * error)
