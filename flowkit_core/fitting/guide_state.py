"""State of an unfinished fit of a guide, in memory and on disk."""

import math
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_core.fitting.state import Arrays
from flowkit_core.fitting.state_file import StateFile

# Standard error of a median of Normal numbers, in units of their scaled median deviation / sqrt(n).
_MEDIAN_ERROR = 1.2533 * 1.4826

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
        """Of the losses of the steps just taken; those that are not finite count as infinite."""
        filled = np.where(np.isfinite(losses), losses, math.inf)
        median = float(np.median(filled))
        if not math.isfinite(median):
            return cls(state.phase, state.step, math.inf, 0.0)
        spread = float(np.median(np.abs(filled - median)))
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
    has_converged: bool = False
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
        losses = arrays["current"].pop("losses", np.zeros(0))
        current, best = arrays["current"], arrays["best"]
        return cls(**history, windows=windows, losses=losses.tolist(), current=current, best=best)


def _check_history(history: dict[str, Any]) -> None:
    """Raise unless this is what `GuideFitState.write` writes."""
    fields = set(GuideFitState.__dataclass_fields__) - {"current", "best", "losses"}
    if set(history) != fields:
        raise ValueError(f"expected the entries {sorted(fields)}, got {sorted(history)}")
    for name in ("step", "phase_start", "phase_window", "decay_end", "falls", "skipped_steps"):
        if isinstance(history[name], bool) or not isinstance(history[name], int):
            raise TypeError(f"{name}: expected an integer, got {history[name]!r}")
