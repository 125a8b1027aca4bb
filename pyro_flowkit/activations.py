"""Activation functions by the names that specs use."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# One definition per name, equal in both wings: gelu is the exact one, leaky_relu has slope 0.01.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}

# Those whose derivative torch takes from the result, so that nothing needs the values before.
IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_}


def activate(name: str, values: Tensor, out: Tensor) -> Tensor:
    """Write the activations of ``values`` into ``out``; nothing differentiates through it."""
    if name == "relu":
        return torch.clamp_min(values, 0.0, out=out)  # without the intermediate of a copy
    return out.copy_(ACTIVATIONS[name](values))
