"""Laws: the mathematics of one coordinate, given its parameters.

A law knows nothing of networks. A third law is one class here and one row in ``_LAWS`` (and its
spec in `flowkit_core.specs.laws`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from flowkit_core import specs

Params = tuple[Array, ...]


class Law(ABC):
    """A strictly increasing map of one coordinate, applied element-wise.

    Laws hold no arrays: they are frozen dataclasses, hashable, so that ``jit`` may treat them as
    constants.

    Shapes: ``params`` holds ``num_conditioned`` arrays that a network yields, then ``num_free``
    arrays that the layer owns; each broadcasts against the input.
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
    def forward(self, z: Array, params: Params) -> tuple[Array, Array]:
        """Return ``x = tau(z)`` and ``log tau'(z)``."""

    @abstractmethod
    def inverse(self, x: Array, params: Params) -> tuple[Array, Array]:
        """Return ``z = tau^-1(x)`` and ``log (tau^-1)'(x)``."""


@dataclass(frozen=True)
class Additive(Law):
    """``x = z + t``; the log-slope is 0 (NICE, Dinh et al. 2015, equation 9).

    Example:
        >>> x, log_slope = Additive().forward(jnp.array(1.0), (jnp.array(2.0),))
        >>> float(x), float(log_slope)
        (3.0, 0.0)
    """

    num_conditioned: ClassVar[int] = 1
    num_free: ClassVar[int] = 0

    def forward(self, z: Array, params: Params) -> tuple[Array, Array]:
        """Return ``z + t`` and 0."""
        x = z + params[0]
        return x, jnp.zeros_like(x)

    def inverse(self, x: Array, params: Params) -> tuple[Array, Array]:
        """Return ``x - t`` and 0."""
        z = x - params[0]
        return z, jnp.zeros_like(z)


@dataclass(frozen=True)
class Affine(Law):
    """``x = z * exp(s) + t`` with the soft bound ``s = b + c * tanh(h / c)``.

    Parameters are the shift t and the raw log-scale h (conditioned) and the bias b (free); see
    `flowkit_core.numerics.log_scale_bound` for why and how c is chosen.

    Args:
        bound: c > 0.

    Example:
        >>> t, h, b = jnp.array(1.0), jnp.array(0.0), jnp.array(0.0)
        >>> x, log_slope = Affine(bound=2.0).forward(jnp.array(3.0), (t, h, b))
        >>> float(x), float(log_slope)
        (4.0, 0.0)
    """

    bound: float = 2.0
    num_conditioned: ClassVar[int] = 2
    num_free: ClassVar[int] = 1

    def log_scale(self, params: Params) -> Array:
        """The softly bounded log-scale s."""
        _, raw, bias = params
        return bias + self.bound * jnp.tanh(raw / self.bound)

    def forward(self, z: Array, params: Params) -> tuple[Array, Array]:
        """Return ``z * exp(s) + t`` and s."""
        s = self.log_scale(params)
        x = z * jnp.exp(s) + params[0]
        return x, jnp.broadcast_to(s, x.shape)

    def inverse(self, x: Array, params: Params) -> tuple[Array, Array]:
        """Return ``(x - t) * exp(-s)`` and -s."""
        s = self.log_scale(params)
        z = (x - params[0]) * jnp.exp(-s)
        return z, jnp.broadcast_to(-s, z.shape)


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

    def forward(self, z: Array, params: Params) -> tuple[Array, Array]:
        """The law's inverse."""
        return self.law.inverse(z, params)

    def inverse(self, x: Array, params: Params) -> tuple[Array, Array]:
        """The law's forward map."""
        return self.law.forward(x, params)


_LAWS: dict[type[specs.LawSpec], Callable[[Any], Law]] = {
    specs.AdditiveLaw: lambda spec: Additive(),
    specs.AffineLaw: lambda spec: Affine(bound=spec.bound),
}


def law_from_spec(spec: specs.LawSpec) -> Law:
    """The law that a spec describes."""
    return _LAWS[type(spec)](spec)
