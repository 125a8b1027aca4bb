"""Checkpoints: one safetensors file that holds a flow's spec and its arrays, and those of its base.

The file is read by either wing. Nothing in it is executed (no pickle). It is written to a
temporary name and renamed, so a crash leaves either the old file or the new one.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from flowkit_core.bases import BASES, BaseSpec, base_spec
from flowkit_core.safe_file import CheckpointError, opened, replace_file
from flowkit_core.specs import FlowSpec

FORMAT = "ppl-flowkit/flow"
FORMAT_VERSION = 1
DTYPES = ("float32", "float64")

Arrays = dict[str, NDArray[np.floating]]
# Before the names of a base's arrays; no array of a flow has a colon in its name.
BASE_PREFIX = "base:"


def write_checkpoint(
    path: str | os.PathLike[str],
    spec: FlowSpec,
    arrays: Mapping[str, NDArray[np.floating]],
    base: tuple[BaseSpec, Mapping[str, NDArray[np.floating]]] | None = None,
) -> None:
    """Write ``spec`` and ``arrays`` to ``path``, replacing it atomically.

    Args:
        path: file to write; its folder must exist.
        spec: the flow's architecture.
        arrays: one array per entry of ``spec.arrays()``, float32 or float64.
        base: spec and arrays of a learnt base of the flow's dimension, if there is one.

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
    held = dict(arrays)
    if base is not None:
        of_base, base_arrays = base
        if of_base.input_dim != spec.input_dim:
            raise ValueError(
                f"base: expected {spec.input_dim} coordinates, as the flow has, got "
                f"{of_base.input_dim}"
            )
        metadata["base"] = of_base.kind
        held |= {BASE_PREFIX + name: array for name, array in base_arrays.items()}
    replace_file(path, save({k: np.ascontiguousarray(v) for k, v in held.items()}, metadata))


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[FlowSpec, Arrays]:
    """Read the flow that `write_checkpoint` wrote, checking everything before it is used.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged, is no checkpoint of a flow, was written in a newer
            format, or holds arrays that do not fit its spec.
    """
    file = Path(path)
    return _flow(file, *_contents(file))


def read_base(path: str | os.PathLike[str]) -> tuple[BaseSpec, Arrays]:
    """Read the learnt base that was written with a flow.

    Raises:
        FileNotFoundError, CheckpointError: as `read_checkpoint`; also if the file holds no base,
            or one that does not fit the flow.

    Example:
        >>> import tempfile
        >>> from flowkit_core.bases import StudentTBaseSpec
        >>> from flowkit_core.recipes import permute
        >>> base = StudentTBaseSpec(2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = f"{folder}/flow.safetensors"
        ...     write_checkpoint(file, permute(2, order=(1, 0)), {}, (base, base.arrays()))
        ...     spec, arrays = read_base(file)
        >>> spec.kind, arrays["free"].round(2)
        ('student_t', array([-3.53, -3.53]))
    """
    file = Path(path)
    metadata, held = _contents(file)
    flow, _ = _flow(file, metadata, held)
    kind = metadata.get("base")
    if kind is None:
        raise CheckpointError(
            f"{file}: holds a flow and no learnt base; a flow that was trained without one has the "
            "standard Normal"
        )
    if kind not in BASES:
        raise CheckpointError(f"{file}: holds an unknown base {kind!r}, not one of {list(BASES)}")
    arrays = {
        name.removeprefix(BASE_PREFIX): array
        for name, array in held.items()
        if name.startswith(BASE_PREFIX)
    }
    try:
        spec = base_spec(kind, arrays)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error
    if spec.input_dim != flow.input_dim:
        raise CheckpointError(
            f"{file}: its base has {spec.input_dim} coordinates, its flow {flow.input_dim}"
        )
    return spec, arrays


def _contents(file: Path) -> tuple[dict[str, str], Arrays]:
    """Metadata and arrays of a checkpoint of a format that this version reads."""
    with opened(file) as handle:
        metadata = handle.metadata() or {}
        _check_format(file, metadata)
        return metadata, {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118


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


def _flow(file: Path, metadata: Mapping[str, str], held: Arrays) -> tuple[FlowSpec, Arrays]:
    """Spec and arrays of the flow among what a checkpoint holds."""
    arrays = {
        name: array
        for name, array in held.items()
        if "base" not in metadata or not name.startswith(BASE_PREFIX)
    }
    try:
        spec = FlowSpec.from_json(metadata.get("spec", ""))
    except (TypeError, ValueError) as error:
        version = metadata["format_version"]
        raise CheckpointError(f"{file}: format {version}, unreadable spec: {error}") from error
    problem = mismatch(spec, arrays)
    if problem:
        raise CheckpointError(f"{file}: {problem}")
    return spec, arrays


def _check_format(file: Path, metadata: Mapping[str, str]) -> None:
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
