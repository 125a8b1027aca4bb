"""The additive law: a shift."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from numpyro_flowkit.laws.base import Law, Params


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
