"""Save and load flows; the file is the same for both wings."""

import os
import warnings

import jax.numpy as jnp
import numpy as np

from flowkit_core.checkpoint import read_checkpoint, write_checkpoint
from numpyro_flowkit.build import build
from numpyro_flowkit.transforms import Flow


def save_flow(flow: Flow, path: str | os.PathLike[str]) -> None:
    """Write a flow's architecture and weights to one safetensors file, atomically.

    Args:
        flow: a flow with a spec.
        path: file to write; its folder must exist.

    Raises:
        TypeError: if ``flow`` is no flow.
        ValueError: if it holds a user's own part and thus has no spec, or is a batch of flows.
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
    write_checkpoint(path, flow.spec, arrays)


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
    x64 = jnp.result_type(float) == np.float64
    if not x64 and any(array.dtype == np.float64 for array in arrays.values()):
        warnings.warn(
            f"{path}: holds float64 weights, which become float32 because JAX's x64 mode is off; "
            'jax.config.update("jax_enable_x64", True) keeps them',
            UserWarning,
            stacklevel=2,
        )
        arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return build(spec, {name: jnp.asarray(array) for name, array in arrays.items()})
