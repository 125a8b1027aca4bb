"""What a guide is made of: a flow, and affine layers at its end."""

from typing import Any

import torch
from torch import Tensor

from flowkit_core.guide_layers import affine_spec, check_flow_dims
from flowkit_core.specs import TriangularAffineSpec
from pyro_flowkit.build import build
from pyro_flowkit.transforms import Compose, Flow


def affine_layer(
    shift: Tensor, log_scale: Tensor, lower: Tensor | None = None, *, frozen: bool
) -> Flow:
    """``x = L z + shift``; L has the diagonal ``exp(log_scale)`` and the strict triangle of lower.

    Args:
        shift: (D,).
        log_scale: (D,).
        lower: (D, D), used up to `flowkit_core.guide_layers.MAX_TRIANGULAR_DIM` coordinates; zero
            by default.
        frozen: whether training leaves the layer as it is.
    """
    spec = affine_spec(len(shift), frozen=frozen)
    if not isinstance(spec, TriangularAffineSpec):
        return build(spec, {"log_scale": log_scale, "shift": shift})
    square = torch.zeros(len(shift), len(shift), dtype=shift.dtype, device=shift.device)
    lower = square if lower is None else lower
    return build(spec, {"lower": lower, "log_diagonal": log_scale, "shift": shift})


def has_frame(transform: Compose) -> bool:
    """Whether a guide's frame is anything but the identity it starts as."""
    frame = transform.parts[-1]
    return isinstance(frame, Flow) and any(bool(p.any()) for p in frame.parameters())


def checked_flow(flow: Any, input_dim: int, context_dim: int = 0) -> Flow:
    """What a guide's ``flow=`` returned, if it is a flow of these dimensions.

    Raises:
        TypeError, ValueError: if it is not.
    """
    if not isinstance(flow, Flow):
        raise TypeError(f"flow: expected it to return a Flow, got {type(flow).__name__}")
    check_flow_dims(flow.input_dim, flow.context_dim, expected=(input_dim, context_dim))
    return flow
