"""State of an unfinished fit on disk, so that it can be resumed."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from flowkit_core.checkpoint import CheckpointError, replace_file
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

    def write(self, path: str | os.PathLike[str], settings: FitSettings, num_rows: int) -> None:
        """Write the state to ``path``, replacing it atomically."""
        arrays = {f"current/{k}": np.ascontiguousarray(v) for k, v in self.current.items()}
        arrays |= {f"best/{k}": np.ascontiguousarray(v) for k, v in self.best.items()}
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
            "settings": json.dumps({**settings.to_dict(), "num_rows": num_rows}, sort_keys=True),
            "history": json.dumps(history),
        }
        replace_file(path, save(arrays, metadata))

    @classmethod
    def read(cls, path: str | os.PathLike[str], settings: FitSettings, num_rows: int) -> "FitState":
        """Read a state that was written with the same settings and as many rows.

        Raises:
            CheckpointError: if the file is damaged, foreign or of a newer format.
            ValueError: if it belongs to a fit with other settings.
        """
        try:
            with safe_open(Path(path), framework="numpy") as handle:
                metadata = handle.metadata() or {}
                arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise CheckpointError(f"{path}: damaged, or no safetensors file ({error})") from error
        if (metadata.get("format"), metadata.get("format_version")) != (
            FORMAT,
            str(FORMAT_VERSION),
        ):
            raise CheckpointError(
                f"{path}: expected the state of a fit in format {FORMAT_VERSION}, got format "
                f"{metadata.get('format')!r} version {metadata.get('format_version')!r}"
            )
        expected = {**settings.to_dict(), "num_rows": num_rows}
        got = json.loads(metadata["settings"])
        if got != expected:
            differing = sorted(k for k in expected if expected[k] != got.get(k))
            raise ValueError(
                f"{path}: it belongs to another fit; expected "
                f"{ {k: expected[k] for k in differing} }, got "
                f"{ {k: got.get(k) for k in differing} }"
            )
        state = cls(**json.loads(metadata["history"]))
        for name, array in arrays.items():
            part, _, rest = name.partition("/")
            (state.current if part == "current" else state.best)[rest] = array
        return state
