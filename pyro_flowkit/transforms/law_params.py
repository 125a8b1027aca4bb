"""From a network's output to the parameters of a law."""

import torch
from torch import Tensor, nn

from pyro_flowkit.laws import Law, Params
from pyro_flowkit.transforms.checks import tracing


def law_params(
    law: Law, raw: Tensor, free: Tensor | None, num_coordinates: int, *, axis: int = -1
) -> Params:
    """Parameters of the laws of all coordinates: conditioned ones, then free ones.

    Shapes: ``raw`` is what the network yields, (..., num_conditioned * coordinates), parameter by
    parameter; each parameter is (..., coordinates). Of images, whose coordinates are the channels
    along axis -3, ``free`` is (num_free, channels, 1, 1).

    Raises:
        ValueError: if a network of the user's yields another number of outputs.
    """
    expected = law.num_conditioned * num_coordinates
    if not tracing() and raw.shape[axis] != expected:
        raise ValueError(
            f"conditioner: expected {law.num_conditioned} * {num_coordinates} = {expected} "
            f"outputs, got {raw.shape[axis]}"
        )
    conditioned = raw.split(num_coordinates, axis)
    if free is None:
        return conditioned
    # The gradient of a view is a view; that of unbinding stacks.
    rows = (free.squeeze(0),) if law.num_free == 1 else free.unbind(0)
    return (*conditioned, *rows)


def free_parameters(law: Law, num_coordinates: int, free: Tensor | None) -> nn.Parameter | None:
    """The law's free parameters (num_free, coordinates), zeros by default; None if it has none.

    Raises:
        ValueError: if ``free`` has another shape.
    """
    shape = (law.num_free, num_coordinates)
    if free is None:
        return nn.Parameter(torch.zeros(shape)) if law.num_free else None
    if tuple(free.shape) != shape or not law.num_free:
        raise ValueError(f"free: expected shape {shape}, got {tuple(free.shape)}")
    return nn.Parameter(free.detach().clone())
