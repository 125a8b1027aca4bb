"""Save and load flows; the file is read by either wing."""

import os

import torch

from flowkit_core import checkpoint
from pyro_flowkit.bases import Base, MixtureBase, StudentTBase
from pyro_flowkit.build import build
from pyro_flowkit.transforms import Flow

_BASES: dict[str, type[Base]] = {"student_t": StudentTBase, "mixture": MixtureBase}


def save_flow(flow: Flow, path: str | os.PathLike[str], *, base: Base | None = None) -> None:
    """Write the flow's spec and weights to one safetensors file, atomically.

    Args:
        flow: a flow on any device, float32 or float64.
        path: file to write or replace; its folder must exist.
        base: the learnt base that belongs to it, as ``guide.get_base()`` gives it; `load_base`
            reads it.

    Raises:
        TypeError: for something that is no flow of this wing, or a base of another kind.
        ValueError: if the flow has no spec (a user's own network, law or transform is inside), if
            its weights are neither float32 nor float64, or if the base has another dimension.
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
    of_base = None
    if base is not None:
        if not isinstance(base, StudentTBase | MixtureBase):
            raise TypeError(
                "base: expected a base of student_t_base or mixture_base, got "
                f"{type(base).__name__}"
            )
        of_base = (base.spec, _arrays(base))
    checkpoint.write_checkpoint(path, flow.spec, _arrays(flow), of_base)


def load_flow(path: str | os.PathLike[str]) -> Flow:
    """Read a flow that `save_flow` of either wing wrote; weights keep their dtype, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        flowkit_core.CheckpointError: if it is damaged, foreign or of a newer format.
    """
    spec, arrays = checkpoint.read_checkpoint(path)
    return build(spec, {name: torch.from_numpy(array) for name, array in arrays.items()})


def load_base(path: str | os.PathLike[str]) -> Base:
    """Read the learnt base that `save_flow` of either wing wrote beside a flow.

    Raises:
        FileNotFoundError, flowkit_core.CheckpointError: as `load_flow`; also if the file holds
            none.

    Example:
        >>> import tempfile
        >>> from pyro_flowkit import FlowDistribution, mixture_base, realnvp
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_flow(realnvp(2), f"{folder}/flow.safetensors", base=mixture_base(2))
        ...     flow = load_flow(f"{folder}/flow.safetensors")
        ...     base = load_base(f"{folder}/flow.safetensors")
        >>> FlowDistribution(flow, base()).sample((5,)).shape
        torch.Size([5, 2])
    """
    spec, arrays = checkpoint.read_base(path)
    base = _BASES[spec.kind](spec)
    for name, array in arrays.items():
        base.register_parameter(name, torch.nn.Parameter(torch.from_numpy(array)))
    return base


def _arrays(module: torch.nn.Module) -> checkpoint.Arrays:
    return {name: p.detach().cpu().numpy() for name, p in module.named_parameters()}
