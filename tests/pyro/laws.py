"""A user's own law: an affine map followed by asinh."""

from typing import ClassVar

import torch

from pyro_flowkit.laws import Law


class ArcSinh(Law):
    """``x = asinh(z exp(s) + t)`` with conditioned s and t, and one free parameter added to t."""

    num_conditioned: ClassVar[int] = 2
    num_free: ClassVar[int] = 1

    def forward(self, z, params):
        raw, t, free = params
        s = torch.tanh(raw)
        inner = z * torch.exp(s) + t + free
        return torch.asinh(inner), s - 0.5 * torch.log1p(inner**2)

    def inverse(self, x, params):
        raw, t, free = params
        s = torch.tanh(raw)
        inner = torch.sinh(x)
        return (inner - t - free) * torch.exp(-s), torch.log(torch.cosh(x)) - s
