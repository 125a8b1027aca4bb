"""State of an unfinished fit of a guide, in memory and on disk."""

import math
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_core import checks
from flowkit_core.fitting.state import Arrays
from flowkit_core.fitting.state_file import StateFile
from flowkit_core.safe_file import CheckpointError

PHASES = ("total", "path", "decay")
# Why a fit may end once its rate has fallen.
ENDINGS = ("converged", "steps", "time")

# Standard error of the median of n independent Normal numbers, in units of the median absolute
# difference of neighbours / sqrt(n).
_MEDIAN_ERROR = 1.2533 * 1.4826 / math.sqrt(2)

_FILE = StateFile(format="ppl-flowkit/guide-fit", version=1, parts=("best", "current"))


@dataclass(frozen=True)
class WindowRecord:
    """Some consecutive steps: their phase and first step, median loss, its standard error."""

    phase: str
    first_step: int
    median: float
    error: float

    @classmethod
    def of(cls, state: "GuideFitState", losses: NDArray[np.float64]) -> "WindowRecord":
        """Of the losses of the steps just taken; those that are not finite count as infinite.

        The noise is taken from differences of neighbours, so that a trend within the window, as of
        a loss that explodes, is none.
        """
        filled = np.where(np.isfinite(losses), losses, math.inf)
        median = float(np.median(filled))
        if not math.isfinite(median):
            return cls(state.phase, state.step, math.inf, 0.0)
        jumps = np.abs(np.diff(losses[np.isfinite(losses)]))
        spread = float(np.median(jumps)) if len(jumps) else 0.0
        error = _MEDIAN_ERROR * spread / math.sqrt(len(losses))
        return cls(state.phase, state.step, median, error)


@dataclass
class GuideFitState:
    """Everything that the next window depends on, and the history so far."""

    phase: str
    rate: float
    step: int = 0
    phase_start: int = 0
    phase_window: int = 0
    decay_end: int = 0
    falls: int = 0
    skipped_steps: int = 0
    ending: str = "steps"
    stopped: str = ""
    best_median: float = math.inf
    losses: list[float] = field(default_factory=list)
    windows: list[WindowRecord] = field(default_factory=list)
    current: Arrays = field(default_factory=dict)
    best: Arrays = field(default_factory=dict)

    def write(self, path: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        """Write the state to ``path``, replacing it atomically."""
        history = asdict(self)
        arrays = {"current": history.pop("current"), "best": history.pop("best")}
        arrays["current"] = self.current | {"losses": np.array(history.pop("losses"))}
        _FILE.write(path, identity, history, arrays)

    @classmethod
    def read(cls, path: str | os.PathLike[str], identity: dict[str, Any]) -> "GuideFitState":
        """Read a state of a fit with the same settings and weights of the same shapes.

        Raises:
            CheckpointError: if the file is damaged, foreign or of a newer format.
            ValueError: if it belongs to another fit.
        """
        history, arrays = _FILE.read(path, identity, _check_history)
        windows = [WindowRecord(**window) for window in history.pop("windows")]
        current, best = arrays["current"], arrays["best"]
        losses = current.pop("losses", None)
        if losses is None or losses.shape != (history["step"],):
            got = "none" if losses is None else f"shape {losses.shape}"
            raise CheckpointError(f"{path}: expected a loss of every step, got {got}")
        return cls(**history, windows=windows, losses=losses.tolist(), current=current, best=best)


_COUNTS = ("step", "phase_start", "phase_window", "decay_end", "falls", "skipped_steps")


def _check_history(history: dict[str, Any]) -> None:
    """Raise unless this is what `GuideFitState.write` writes."""
    _check_names(history, set(GuideFitState.__dataclass_fields__) - {"current", "best", "losses"})
    for name in _COUNTS:
        checks.int_at_least(name, history[name], 0)
    checks.positive_float("rate", history["rate"])
    checks.choice("phase", history["phase"], PHASES)
    checks.choice("ending", history["ending"], ENDINGS)
    checks.choice("stopped", history["stopped"], ("", "diverged", *ENDINGS))
    checks.instance("best_median", history["best_median"], float)
    for window in checks.instance("windows", history["windows"], list):
        _check_names(window, set(WindowRecord.__dataclass_fields__))
        checks.choice("phase", window["phase"], PHASES)
        checks.int_at_least("first_step", window["first_step"], 0)
        checks.instance("median", window["median"], float)
        checks.instance("error", window["error"], float)


def _check_names(got: dict[str, Any], expected: set[str]) -> None:
    if set(got) != expected:
        raise ValueError(f"expected the entries {sorted(expected)}, got {sorted(got)}")
