"""Laws: the mathematics of one coordinate, given its parameters.

A law knows nothing of networks. A third law is one class here and one row in ``_LAWS`` (and its
spec in `flowkit_core.specs.laws`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from flowkit_core import specs

Params = tuple[Tensor, ...]


class Law(ABC):
    """A strictly increasing map of one coordinate, applied element-wise.

    Shapes: ``params`` holds ``num_conditioned`` tensors that a network yields, then ``num_free``
    tensors that the layer owns; each broadcasts against the input.
    """

    @property
    @abstractmethod
    def num_conditioned(self) -> int:
        """Parameters per coordinate that come from a conditioner."""

    @property
    @abstractmethod
    def num_free(self) -> int:
        """Parameters per coordinate that belong to the layer and depend on no input."""

    @abstractmethod
    def forward(self, z: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``x = tau(z)`` and ``log tau'(z)``."""

    @abstractmethod
    def inverse(self, x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``z = tau^-1(x)`` and ``log (tau^-1)'(x)``."""


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
        return bias + self.bound * torch.tanh(raw / self.bound)

    def forward(self, z: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``z * exp(s) + t`` and s."""
        s = self.log_scale(params)
        return z * torch.exp(s) + params[0], s.expand_as(z)

    def inverse(self, x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``(x - t) * exp(-s)`` and -s."""
        s = self.log_scale(params)
        return (x - params[0]) * torch.exp(-s), -s.expand_as(x)


@dataclass(frozen=True)
class Inverted(Law):
    """A law with its two directions exchanged.

    With it the MAF, whose parameters are functions of the data, is an IAF of the inverted law.

    Args:
        law: the law to invert.
    """

    law: Law

    @property
    def num_conditioned(self) -> int:
        """As the law's."""
        return self.law.num_conditioned

    @property
    def num_free(self) -> int:
        """As the law's."""
        return self.law.num_free

    def forward(self, z: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """The law's inverse."""
        return self.law.inverse(z, params)

    def inverse(self, x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """The law's forward map."""
        return self.law.forward(x, params)


_LAWS: dict[type[specs.LawSpec], Callable[[Any], Law]] = {
    specs.AdditiveLaw: lambda spec: Additive(),
    specs.AffineLaw: lambda spec: Affine(bound=spec.bound),
}


def law_from_spec(spec: specs.LawSpec) -> Law:
    """The law that a spec describes."""
    return _LAWS[type(spec)](spec)
