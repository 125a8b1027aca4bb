"""Checks of the tensors that users pass; the messages say what was got and what was expected."""

import torch
from torch import Tensor


def tracing() -> bool:
    """Whether ``torch.jit.trace`` is running, as in `JitTrace_ELBO`.

    Sizes are tensors then, and comparing them would be recorded as a constant; the same arguments
    were checked when the model ran before the trace.
    """
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined]  # not in torch's own list


def floating(
    name: str, value: Tensor, dtype: torch.dtype | None, device: torch.device | None
) -> None:
    """Raise unless ``value`` is a tensor of the flow's dtype and on its device.

    Args:
        name: of the argument, for the message.
        value: what the user passed.
        dtype: of the flow's weights; None for a flow without any, which maps every floating dtype.
        device: of the flow; None for a flow that holds no tensor.

    Raises:
        TypeError: for something that is no tensor, or of another dtype.
        ValueError: for a tensor on another device.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
    if not value.is_floating_point() or dtype not in (None, value.dtype):
        expected = "a floating dtype" if dtype is None else f"{dtype}"
        raise TypeError(
            f"{name}: expected {expected}, the flow's, got {value.dtype}; "
            "convert the tensor, or the flow with flow.to(dtype)"
        )
    if device not in (None, value.device):
        raise ValueError(
            f"{name}: expected device {device}, the flow's, got {value.device}; "
            "move the tensor, or the flow with flow.to(device)"
        )


def last_dim(name: str, shape: torch.Size, expected: int) -> None:
    """Raise ValueError unless the last extent of ``shape`` is the expected one."""
    if tracing():
        return
    if len(shape) == 0 or shape[-1] != expected:
        raise ValueError(f"{name}: expected shape (..., {expected}), got {tuple(shape)}")


def last_dims(name: str, shape: torch.Size, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless ``shape`` ends in the expected one of an event."""
    if tracing():
        return
    if shape[-len(expected) :] != expected:
        extents = ", ".join(map(str, expected))
        hint = "; images are (..., channels, height, width)" if len(expected) == 3 else ""
        raise ValueError(f"{name}: expected shape (..., {extents}), got {tuple(shape)}{hint}")


def broadcast_batch(
    name: str, value: Tensor, context: Tensor | None, rank: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Expand an input and a context (..., n) to their common batch shape.

    Args:
        name: of the input, for the message.
        value: (..., D), or (..., channels, height, width).
        context: or None.
        rank: of the input's events.

    Raises:
        ValueError: if the batch shapes do not broadcast.
    """
    if context is None or context.shape[:-1] == value.shape[:-rank]:
        return value, context
    try:
        batch = torch.broadcast_shapes(value.shape[:-rank], context.shape[:-1])
    except RuntimeError as error:
        raise ValueError(
            f"context: batch shape {tuple(context.shape[:-1])} does not broadcast "
            f"against that of {name}, {tuple(value.shape[:-rank])}"
        ) from error
    event = value.shape[-rank:]
    return value.expand(*batch, *event), context.expand(*batch, context.shape[-1])
