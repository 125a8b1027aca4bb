"""The affine law: a shift and a softly bounded scale."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from numpyro_flowkit.laws.base import Law, Params


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
