r"""Newton's method for ``y + g h(y) = v`` where it cannot fail, with implicit derivatives.

h is odd, increasing, bounded by 1, of slope at most 1, and concave for y > 0, as tanh is; g > -1.
By symmetry let v > 0; then y > 0. With g > 0 the left side is concave there, and the root is above
``v / (1 + g)`` and above ``v - g``; with g < 0 it is convex, and the root is below both. From that
side Newton's steps go straight to the root without ever passing it, at last quadratically.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from flowkit_core.numerics import STOP_ROUNDING_ERRORS
from flowkit_core.reports import InverseNotConverged
from pyro_flowkit.transforms.modes import nothing_recorded, values_are_known

# A Newton step from a root makes derivatives of one order more than twice as many exact: of order
# 1, 3, 7.
RECORDED_STEPS = 3

Bend = Callable[[Tensor], tuple[Tensor, Tensor]]


def newton_root(bend: Bend, gain: Tensor, v: Tensor, max_iterations: int) -> Tensor:
    """The y with ``y + gain h(y) = v``; shapes broadcast.

    Derivatives are those of the implicit function theorem, exact up to the seventh order, in every
    mode: what is differentiated is not the iteration but three Newton steps from its result, which
    do not move it.

    Args:
        bend: y -> h(y), h'(y).
        gain: g > -1.
        v: the right side.
        max_iterations: steps that may be taken.

    Raises:
        InverseNotConverged: if those are too few for some of the numbers. Under ``vmap`` and in
            traces, where Python cannot look at values, all steps are taken and those numbers are
            NaN.
    """
    gain, v = torch.broadcast_tensors(gain, v)
    find = _find
    if torch.compiler.is_compiling():
        # The steps follow the data: one break of the graph, rather than many found by trying.
        find = torch.compiler.disable(find)
    y = find(bend, gain.detach(), v.detach(), max_iterations)
    if nothing_recorded():
        return y
    for _ in range(RECORDED_STEPS):
        h, slope = bend(y)
        y = y + (v - y - gain * h) / (1 + gain * slope)
    return y


@torch.no_grad()
def _find(bend: Bend, gain: Tensor, v: Tensor, max_iterations: int) -> Tensor:
    size = v.abs()
    bounds = size - gain, size / (1 + gain)
    y = torch.where(gain > 0, torch.maximum(*bounds), torch.minimum(*bounds))
    tolerance = STOP_ROUNDING_ERRORS * torch.finfo(v.dtype).eps
    known = values_are_known()
    for _ in range(max_iterations):
        h, slope = bend(y)
        residual = size - y - gain * h
        # Compared with what it is the difference of: no step makes it smaller than their rounding.
        moving = residual.abs() > tolerance * (size + y + (gain * h).abs())
        y = y + residual / (1 + gain * slope)
        if known and not bool(moving.any()):
            break
    else:
        if known and moving.numel():
            raise InverseNotConverged.of(int(moving.sum()), moving.numel())
        y = torch.where(moving, torch.nan, y)
    return torch.copysign(y, v)
