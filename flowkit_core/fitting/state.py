"""State of an unfinished fit on disk, so that it can be resumed."""

import os
from dataclasses import dataclass, field, fields
from typing import Any

from flowkit_core import checks
from flowkit_core.fitting.settings import FitSettings
from flowkit_core.fitting.state_file import Arrays, StateFile

__all__ = ["Arrays", "FitState"]

_FILE = StateFile(format="ppl-flowkit/fit", version=1, parts=("best", "current"))


@dataclass
class FitState:
    """Everything that the next epoch depends on, and the history so far."""

    epoch: int = 0
    train_losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_epoch: int = -1
    skipped_steps: int = 0
    current: Arrays = field(default_factory=dict)
    best: Arrays = field(default_factory=dict)

    def write(
        self,
        path: str | os.PathLike[str],
        settings: FitSettings,
        num_rows: int,
        flow: str = "",
    ) -> None:
        """Write the state to ``path``, replacing it atomically; ``flow`` names what is fitted."""
        history = {
            "epoch": self.epoch,
            "train_losses": self.train_losses,
            "validation_losses": self.validation_losses,
            "best_epoch": self.best_epoch,
            "skipped_steps": self.skipped_steps,
        }
        arrays = {"current": self.current, "best": self.best}
        _FILE.write(path, _identity(settings, num_rows, flow), history, arrays)

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        settings: FitSettings,
        num_rows: int,
        flow: str = "",
    ) -> "FitState":
        """Read a state that was written for the same flow with the same settings and as many rows.

        Raises:
            CheckpointError: if the file is damaged, foreign or of a newer format.
            ValueError: if it belongs to a fit of another flow or with other settings.
        """
        history, arrays = _FILE.read(path, _identity(settings, num_rows, flow), _check_history)
        return cls(**history, current=arrays["current"], best=arrays["best"])


def _identity(settings: FitSettings, num_rows: int, flow: str) -> dict[str, Any]:
    """What a fit that goes on from a state must have in common with the one that wrote it."""
    return {**settings.to_dict(), "num_rows": num_rows, "flow": flow}


def _check_history(history: dict[str, Any]) -> None:
    """Raise unless this is what `FitState.write` writes."""
    known = {f.name for f in fields(FitState)} - {"current", "best"}
    if set(history) != known:
        raise ValueError(f"expected the entries {sorted(known)}, got {sorted(history)}")
    epoch = checks.int_at_least("epoch", history["epoch"], 0)
    if checks.int_at_least("best_epoch", history["best_epoch"], -1) >= max(epoch, 1):
        raise ValueError(f"best_epoch: expected one before {epoch}, got {history['best_epoch']}")
    checks.int_at_least("skipped_steps", history["skipped_steps"], 0)
    for name, lengths in (("train_losses", (epoch,)), ("validation_losses", (0, epoch))):
        losses = checks.instance(name, history[name], list)
        if len(losses) not in lengths or not all(isinstance(loss, float) for loss in losses):
            raise ValueError(f"{name}: expected {epoch} numbers, got {losses}")
