"""Save and load flows; the file is read by either wing."""

import os

import torch

from flowkit_core import checkpoint
from pyro_flowkit.build import build
from pyro_flowkit.transforms import Flow


def save_flow(flow: Flow, path: str | os.PathLike[str]) -> None:
    """Write the flow's spec and weights to one safetensors file, atomically.

    Args:
        flow: a flow on any device, float32 or float64.
        path: file to write or replace; its folder must exist.

    Raises:
        TypeError: for something that is no flow of this wing.
        ValueError: if the flow has no spec (a user's own network, law or transform is inside), or
            its weights are neither float32 nor float64.
        OSError: if the file cannot be written; the old one, if any, is then untouched.

    Example:
        >>> import tempfile
        >>> from pyro_flowkit import lu_linear
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_flow(lu_linear(2), f"{folder}/flow.safetensors")
        ...     print(load_flow(f"{folder}/flow.safetensors"))
        LULinear(input_dim=2)  # 12 parameters
    """
    if not isinstance(flow, Flow):
        raise TypeError(f"flow: expected a Flow of pyro_flowkit, got {type(flow).__name__}")
    if flow.spec is None:
        raise ValueError(
            "flow: it holds a network, law or transform of your own, so it has no spec and cannot "
            "be saved here; save flow.state_dict() instead"
        )
    arrays = {name: p.detach().cpu().numpy() for name, p in flow.named_parameters()}
    checkpoint.write_checkpoint(path, flow.spec, arrays)


def load_flow(path: str | os.PathLike[str]) -> Flow:
    """Read a flow that `save_flow` of either wing wrote; weights keep their dtype, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        flowkit_core.CheckpointError: if it is damaged, foreign or of a newer format.
    """
    spec, arrays = checkpoint.read_checkpoint(path)
    return build(spec, {name: torch.from_numpy(array) for name, array in arrays.items()})
