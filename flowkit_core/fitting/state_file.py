"""A file that holds the state of an unfinished fit: arrays, history, and whose fit it is."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from flowkit_core import checks
from flowkit_core.safe_file import CheckpointError, opened, replace_file

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class StateFile:
    """The layout of such a file: a safetensors file with the history as metadata.

    Args:
        format: its name.
        version: of the format.
        parts: groups that the arrays come in.
    """

    format: str
    version: int
    parts: tuple[str, ...]

    def write(
        self,
        path: str | os.PathLike[str],
        identity: Mapping[str, Any],
        history: Mapping[str, Any],
        arrays: Mapping[str, Arrays],
    ) -> None:
        """Write the state to ``path``, replacing it atomically.

        Args:
            path: of the file.
            identity: what a fit that goes on from here must have in common with this one.
            history: plain values.
            arrays: of each part.
        """
        flat = {
            f"{part}/{name}": np.asarray(array, order="C")
            for part in self.parts
            for name, array in arrays[part].items()
        }
        metadata = {
            "format": self.format,
            "format_version": str(self.version),
            "settings": json.dumps(dict(identity), sort_keys=True),
            "history": json.dumps(dict(history)),
        }
        replace_file(path, save(flat, metadata))

    def read(
        self,
        path: str | os.PathLike[str],
        identity: Mapping[str, Any],
        check_history: Callable[[dict[str, Any]], None],
    ) -> tuple[dict[str, Any], dict[str, Arrays]]:
        """History and arrays of a state that was written under the same identity.

        Raises:
            CheckpointError: if the file is damaged, foreign or of a newer format.
            ValueError: if it belongs to another fit.
        """
        with opened(Path(path)) as handle:
            metadata = handle.metadata() or {}
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
        written = metadata.get("format"), metadata.get("format_version")
        if written != (self.format, str(self.version)):
            raise CheckpointError(
                f"{path}: expected the state of a fit in format {self.format} {self.version}, got "
                f"format {written[0]!r} version {written[1]!r}"
            )
        try:
            got, history = _object(metadata["settings"]), _object(metadata["history"])
            check_history(history)
            split = {name: self._split(name) for name in arrays}
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: unreadable state of a fit ({error!r})") from error
        if got != identity:
            differing = sorted(
                k for k in {*identity, *got} if k not in got or got[k] != identity.get(k)
            )
            raise ValueError(
                f"{path}: it belongs to another fit; expected "
                f"{ {k: identity.get(k) for k in differing} }, got "
                f"{ {k: got.get(k) for k in differing} }"
            )
        parts: dict[str, Arrays] = {part: {} for part in self.parts}
        for name, (part, rest) in split.items():
            parts[part][rest] = arrays[name]
        return history, parts

    def _split(self, name: str) -> tuple[str, str]:
        part, _, rest = name.partition("/")
        return checks.choice("array", part, self.parts), rest


def _object(text: str) -> dict[str, Any]:
    return checks.instance("metadata", json.loads(text), dict)
