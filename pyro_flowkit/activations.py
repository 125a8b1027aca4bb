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
