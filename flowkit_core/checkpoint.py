"""Checkpoints: one safetensors file that holds a flow's spec and its arrays.

The file is read by either wing. Nothing in it is executed (no pickle). It is written to a
temporary name and renamed, so a crash leaves either the old file or the new one.
"""

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from flowkit_core.specs import FlowSpec

FORMAT = "ppl-flowkit/flow"
FORMAT_VERSION = 1
DTYPES = ("float32", "float64")

Arrays = dict[str, NDArray[np.floating]]


class CheckpointError(ValueError):
    """A file that is no readable checkpoint of a flow, with the reason."""


def write_checkpoint(
    path: str | os.PathLike[str], spec: FlowSpec, arrays: Mapping[str, NDArray[np.floating]]
) -> None:
    """Write ``spec`` and ``arrays`` to ``path``, replacing it atomically.

    Args:
        path: file to write; its folder must exist.
        spec: the flow's architecture.
        arrays: one array per entry of ``spec.arrays()``, float32 or float64.

    Raises:
        ValueError: if names, shapes or dtypes do not fit the spec.
        OSError: if the file cannot be written; then nothing is left behind.

    Example:
        >>> import tempfile
        >>> from flowkit_core.recipes import permute
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_checkpoint(f"{folder}/flow.safetensors", permute(2, order=(1, 0)), {})
        ...     spec, arrays = read_checkpoint(f"{folder}/flow.safetensors")
        >>> spec.order
        (1, 0)
    """
    problem = mismatch(spec, arrays)
    if problem:
        raise ValueError(f"arrays: {problem}")
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "spec": spec.to_json()}
    replace_file(path, save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata))


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[FlowSpec, Arrays]:
    """Read what `write_checkpoint` wrote, checking everything before it is used.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged, is no checkpoint of a flow, was written in a newer
            format, or holds arrays that do not fit its spec.
    """
    file = Path(path)
    with opened(file) as handle:
        metadata = handle.metadata() or {}
        version = _check_format(file, metadata)
        arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    try:
        spec = FlowSpec.from_json(metadata.get("spec", ""))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: format {version}, unreadable spec: {error}") from error
    problem = mismatch(spec, arrays)
    if problem:
        raise CheckpointError(f"{file}: {problem}")
    return spec, arrays


class ArrayLike(Protocol):
    """What numpy's, torch's and JAX's arrays have in common, as far as a check needs it."""

    @property
    def shape(self) -> Any:
        """Extent of each axis."""

    @property
    def dtype(self) -> Any:
        """Type of the entries; its text names it."""


def mismatch(spec: FlowSpec, arrays: Mapping[str, ArrayLike]) -> str | None:
    """What is wrong with ``arrays`` as the weights of ``spec``; None if nothing is."""
    shapes = {a.name: a.shape for a in spec.arrays()}
    missing = sorted(set(shapes) - set(arrays))
    surplus = sorted(set(arrays) - set(shapes))
    if missing or surplus:
        return f"expected the arrays of the spec; missing {missing[:5]}, not expected {surplus[:5]}"
    for name, shape in shapes.items():
        if tuple(arrays[name].shape) != shape:
            return f"{name}: expected shape {shape}, got {tuple(arrays[name].shape)}"
        if str(arrays[name].dtype).removeprefix("torch.") not in DTYPES:
            return f"{name}: expected dtype float32 or float64, got {arrays[name].dtype}"
    return None


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file, open for reading; all that can be wrong with it is a CheckpointError."""
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint at {file}")
    try:
        with safe_open(file, framework="numpy") as handle:
            yield handle
    except SafetensorError as error:
        raise CheckpointError(f"{file}: damaged, or no safetensors file ({error})") from error
    except (AttributeError, TypeError) as error:  # from get_tensor: bfloat16, the float8 family
        raise CheckpointError(f"{file}: holds a type that numpy does not know ({error})") from error


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to a temporary file beside ``path`` and rename it to ``path``.

    A file that was there keeps its permissions; a new one gets those of any new file.
    """
    file = Path(path)
    temporary = file.parent / f".{file.name}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            if file.exists():
                os.chmod(temporary, stat.S_IMODE(file.stat().st_mode))
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _check_format(file: Path, metadata: Mapping[str, str]) -> int:
    if metadata.get("format") != FORMAT:
        got = metadata.get("format")
        raise CheckpointError(f"{file}: no checkpoint of a flow (format {got!r}, not {FORMAT!r})")
    text = metadata.get("format_version", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise CheckpointError(f"{file}: unreadable format version {text[:80]!r}")
    version = int(text)
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{file}: written in format {version}, this version reads up to {FORMAT_VERSION}; "
            "install a newer ppl-flowkit"
        )
    return version
