"""State of an unfinished fit on disk, so that it can be resumed."""

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from flowkit_core import checks
from flowkit_core.checkpoint import CheckpointError, opened, replace_file
from flowkit_core.fitting.settings import FitSettings

FORMAT = "ppl-flowkit/fit"
FORMAT_VERSION = 1

Arrays = dict[str, NDArray[np.generic]]


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
        arrays = {f"current/{k}": np.asarray(v, order="C") for k, v in self.current.items()}
        arrays |= {f"best/{k}": np.asarray(v, order="C") for k, v in self.best.items()}
        history = {
            "epoch": self.epoch,
            "train_losses": self.train_losses,
            "validation_losses": self.validation_losses,
            "best_epoch": self.best_epoch,
            "skipped_steps": self.skipped_steps,
        }
        metadata = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "settings": json.dumps(_identity(settings, num_rows, flow), sort_keys=True),
            "history": json.dumps(history),
        }
        replace_file(path, save(arrays, metadata))

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
        with opened(Path(path)) as handle:
            metadata = handle.metadata() or {}
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        if (metadata.get("format"), metadata.get("format_version")) != (
            FORMAT,
            str(FORMAT_VERSION),
        ):
            raise CheckpointError(
                f"{path}: expected the state of a fit in format {FORMAT_VERSION}, got format "
                f"{metadata.get('format')!r} version {metadata.get('format_version')!r}"
            )
        expected = _identity(settings, num_rows, flow)
        try:
            got, history = _object(metadata["settings"]), _object(metadata["history"])
            _check_history(history)
            parts = {name: _split(name) for name in arrays}
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: unreadable state of a fit ({error!r})") from error
        if got != expected:
            differing = sorted(
                k for k in {*expected, *got} if k not in got or got[k] != expected.get(k)
            )
            raise ValueError(
                f"{path}: it belongs to another fit; expected "
                f"{ {k: expected.get(k) for k in differing} }, got "
                f"{ {k: got.get(k) for k in differing} }"
            )
        state = cls(**history)
        for name, (part, rest) in parts.items():
            (state.current if part == "current" else state.best)[rest] = arrays[name]
        return state


def _identity(settings: FitSettings, num_rows: int, flow: str) -> dict[str, Any]:
    """What a fit that goes on from a state must have in common with the one that wrote it."""
    return {**settings.to_dict(), "num_rows": num_rows, "flow": flow}


def _object(text: str) -> dict[str, Any]:
    return checks.instance("metadata", json.loads(text), dict)


def _split(name: str) -> tuple[str, str]:
    part, _, rest = name.partition("/")
    return checks.choice("array", part, ("best", "current")), rest


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
