"""The additive law: a shift."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pyro_flowkit.laws.base import Law, Params


@dataclass(frozen=True)
class Additive(Law):
    """``x = z + t``; the log-slope is 0 (NICE, Dinh et al. 2015, equation 9).

    Example:
        >>> law = Additive()
        >>> law.forward(torch.tensor(1.0), (torch.tensor(2.0),))
        (tensor(3.), tensor(0.))
    """

    num_conditioned: ClassVar[int] = 1
    num_free: ClassVar[int] = 0

    def forward(self, z: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``z + t`` and 0."""
        x = z + params[0]
        return x, torch.zeros_like(x)

    def inverse(self, x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``x - t`` and 0."""
        z = x - params[0]
        return z, torch.zeros_like(z)
