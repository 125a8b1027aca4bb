"""The affine law: a shift and a softly bounded scale."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pyro_flowkit.laws.base import Law, Params


@dataclass(frozen=True)
class Affine(Law):
    """``x = z * exp(s) + t`` with the soft bound ``s = b + c * tanh(h / c)``.

    Parameters are the shift t and the raw log-scale h (conditioned) and the bias b (free); see
    `flowkit_core.numerics.log_scale_bound` for why and how c is chosen.

    Args:
        bound: c > 0.

    Example:
        >>> law = Affine(bound=2.0)
        >>> t, h, b = torch.tensor(1.0), torch.tensor(0.0), torch.tensor(0.0)
        >>> law.forward(torch.tensor(3.0), (t, h, b))
        (tensor(4.), tensor(0.))
    """

    bound: float = 2.0
    num_conditioned: ClassVar[int] = 2
    num_free: ClassVar[int] = 1

    def log_scale(self, params: Params) -> Tensor:
        """The softly bounded log-scale s."""
        _, raw, bias = params
        return torch.add(bias - self.bound, self._gate(raw), alpha=2 * self.bound)

    def _gate(self, raw: Tensor) -> Tensor:
        # c tanh(h / c) = 2c sigmoid(2h / c) - c: on a CPU a sigmoid costs a quarter of a tanh.
        # Flows of up to 8 layers have c = 2, where there is nothing to multiply.
        return torch.sigmoid(raw if self.bound == 2 else raw * (2 / self.bound))

    def forward(self, z: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``z * exp(s) + t`` and s."""
        s = self.log_scale(params)
        return torch.addcmul(params[0], z, torch.exp(s)), s.expand_as(z)

    def inverse(self, x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``(x - t) * exp(-s)`` and -s."""
        shift, raw, bias = params
        minus_s = torch.sub(self.bound - bias, self._gate(raw), alpha=2 * self.bound)
        return (x - shift) * torch.exp(minus_s), minus_s.expand_as(x)
