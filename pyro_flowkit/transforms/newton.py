r"""Newton's method for ``y + g tanh(y) = v`` where it cannot fail, with implicit derivatives.

By symmetry let v > 0; then y > 0, where tanh is concave and below 1, of slope at most 1; g > -1.
With g > 0 the left side is concave there, and the root is above ``v / (1 + g)`` and above
``v - g``; with g < 0 it is convex, and the root is below both. From that side Newton's steps go
straight to the root without ever passing it, at last quadratically.
"""

from typing import Any

import torch
from torch import Tensor

from flowkit_core.numerics import STOP_ROUNDING_ERRORS
from flowkit_core.reports import InverseNotConverged
from pyro_flowkit.transforms.modes import nothing_recorded

# A Newton step from a root makes derivatives of one order more than twice as many exact: of order
# 1, 3, 7.
RECORDED_STEPS = 3


def tanh_and_slope(y: Tensor) -> tuple[Tensor, Tensor]:
    """The hyperbolic tangent and its derivative."""
    h = torch.tanh(y)
    return h, 1 - h * h


def tanh_root(gain: Tensor, v: Tensor, max_iterations: int) -> Tensor:
    """The y with ``y + gain tanh(y) = v``; shapes broadcast.

    Derivatives are those of the implicit function theorem, exact up to the seventh order, in every
    mode: what is differentiated is not the iteration but three Newton steps from its result, which
    do not move it.

    Args:
        gain: g > -1.
        v: the right side.
        max_iterations: steps that may be taken.

    Raises:
        InverseNotConverged: if those are too few for some of the numbers.

    Example:
        >>> y = tanh_root(torch.tensor(2.0), torch.tensor([0.0, 3.0]), 50)
        >>> [round(v, 4) for v in (y + 2 * torch.tanh(y)).tolist()]
        [0.0, 3.0]
    """
    gain, v = torch.broadcast_tensors(gain, v)
    y = _find(gain.detach().contiguous(), v.detach().contiguous(), max_iterations)
    if nothing_recorded():
        return y
    for _ in range(RECORDED_STEPS):
        h, slope = tanh_and_slope(y)
        y = y + (v - y - gain * h) / (1 + gain * slope)
    return y


# An operator of its own, since its steps follow the data: torch then compiles, maps and traces what
# is round it without looking inside.
@torch.library.custom_op("pyro_flowkit::tanh_root", mutates_args=())
def _find(gain: Tensor, v: Tensor, max_iterations: int) -> Tensor:
    size = v.abs()
    bounds = size - gain, size / (1 + gain)
    y = torch.where(gain > 0, torch.maximum(*bounds), torch.minimum(*bounds))
    tolerance = STOP_ROUNDING_ERRORS * torch.finfo(v.dtype).eps
    unfinished = 0
    for _ in range(max_iterations):
        h, slope = tanh_and_slope(y)
        residual = size - y - gain * h
        # Compared with what it is the difference of: no step makes it smaller than their rounding.
        moving = residual.abs() > tolerance * (size + y + (gain * h).abs())
        y = y + residual / (1 + gain * slope)
        unfinished = int(moving.sum())
        if not unfinished:
            return torch.copysign(y, v)
    raise InverseNotConverged.of(unfinished, v.numel())


@_find.register_fake
def _(gain: Tensor, v: Tensor, max_iterations: int) -> Tensor:
    return torch.empty_like(v)


@_find.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, ...], gain: Tensor, v: Tensor, max_iterations: int
) -> tuple[Tensor, int]:
    gain, v = (
        a.expand(info.batch_size, *a.shape) if dim is None else a.movedim(dim, 0)
        for a, dim in zip((gain, v), in_dims, strict=False)
    )
    return _find(gain.contiguous(), v.contiguous(), max_iterations), 0
