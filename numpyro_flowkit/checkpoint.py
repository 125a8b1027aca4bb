"""Save and load flows; the file is the same for both wings."""

import os
import warnings

import jax.numpy as jnp
import numpy as np
from jax import Array

from flowkit_core.bases import BaseSpec, base_spec
from flowkit_core.checkpoint import Arrays, read_base, read_checkpoint, write_checkpoint
from numpyro_flowkit.bases import Base, MixtureBase, StudentTBase
from numpyro_flowkit.build import build
from numpyro_flowkit.transforms import Flow

_BASES: dict[str, type[Base]] = {"student_t": StudentTBase, "mixture": MixtureBase}


def save_flow(flow: Flow, path: str | os.PathLike[str], *, base: Base | None = None) -> None:
    """Write a flow's architecture and weights to one safetensors file, atomically.

    Args:
        flow: a flow with a spec.
        path: file to write; its folder must exist.
        base: the learnt base that belongs to it, as ``guide.get_base(params)`` gives it;
            `load_base` reads it.

    Raises:
        TypeError: if ``flow`` is no flow, or ``base`` of another kind.
        ValueError: if the flow holds a user's own part and thus has no spec, or is a batch of
            flows, or if the base has another dimension.
        OSError: if the file cannot be written; then nothing is left behind.

    Example:
        >>> import tempfile
        >>> import jax
        >>> from numpyro_flowkit import realnvp
        >>> flow = realnvp(3)(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_flow(flow, f"{folder}/flow.safetensors")
        ...     again = load_flow(f"{folder}/flow.safetensors")
        >>> again == flow
        True
    """
    if not isinstance(flow, Flow):
        raise TypeError(f"flow: expected a Flow, got {type(flow).__name__}")
    if flow.spec is None:
        raise ValueError(
            "flow: it holds a network, law or transform of your own, so it has no spec and cannot "
            "be saved for the other wing; save its jax.tree.leaves, or pickle it"
        )
    if flow.batch_shape:
        raise ValueError(
            f"flow: expected a single flow, got a batch of shape {flow.batch_shape}; "
            "take one with jax.tree.map(lambda leaf: leaf[i], flow)"
        )
    arrays = {name: np.asarray(array) for name, array in flow.named_arrays().items()}
    write_checkpoint(path, flow.spec, arrays, None if base is None else _described(base))


def load_flow(path: str | os.PathLike[str]) -> Flow:
    """Read a flow that either wing has saved.

    float64 weights become float32, with a warning, while JAX's x64 mode is off.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged, is no checkpoint of a flow, was written in a newer
            format, or holds arrays that do not fit its spec.

    Example: see `save_flow`.
    """
    spec, arrays = read_checkpoint(path)
    return build(spec, _as_jax(path, arrays))


def load_base(path: str | os.PathLike[str]) -> Base:
    """Read the learnt base that `save_flow` of either wing wrote beside a flow.

    Raises:
        FileNotFoundError, CheckpointError: as `load_flow`; also if the file holds none.

    Example:
        >>> import tempfile
        >>> import jax
        >>> from numpyro_flowkit import FlowDistribution, mixture_base, realnvp
        >>> key = jax.random.key(0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/flow.safetensors"
        ...     save_flow(realnvp(2)(key), path, base=mixture_base(2)(key))
        ...     flow, base = load_flow(path), load_base(path)
        >>> FlowDistribution(flow, base()).sample(key, (5,)).shape
        (5, 2)
    """
    spec, arrays = read_base(path)
    return _BASES[spec.kind](**_as_jax(path, arrays))


def _described(base: Base) -> tuple[BaseSpec, Arrays]:
    if not isinstance(base, StudentTBase | MixtureBase):
        raise TypeError(
            f"base: expected a base of student_t_base or mixture_base, got {type(base).__name__}"
        )
    (kind,) = (kind for kind, cls in _BASES.items() if isinstance(base, cls))
    arrays = {name: np.asarray(array) for name, array in vars(base).items()}
    return base_spec(kind, arrays), arrays


def _as_jax(path: str | os.PathLike[str], arrays: Arrays) -> dict[str, Array]:
    x64 = jnp.result_type(float) == np.float64
    if not x64 and any(array.dtype == np.float64 for array in arrays.values()):
        warnings.warn(
            f"{path}: holds float64 weights, which become float32 because JAX's x64 mode is off; "
            'jax.config.update("jax_enable_x64", True) keeps them',
            UserWarning,
            stacklevel=3,
        )
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return {name: jnp.asarray(array) for name, array in arrays.items()}
