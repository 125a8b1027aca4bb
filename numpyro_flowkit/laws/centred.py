"""The affine law with log-scales that sum to zero."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from numpyro_flowkit.laws.affine import Affine
from numpyro_flowkit.laws.base import Law, Params


@dataclass(frozen=True)
class Centred(Law):
    """``x = z * exp(s - mean(s)) + t``, the mean over the last axis: volume preserving.

    No law of one coordinate, since the mean joins all that are mapped together: for `Coupling`,
    which maps them all at once. Of one coordinate only the shift is left. Log-scales lie within
    ``2 bound`` of the centred biases.

    Args:
        law: the affine law whose log-scales s are centred.

    References:
        Sorrenson, Rother, Koethe, "Disentanglement by Nonlinear ICA with General
        Incompressible-flow Networks (GIN)", 2020.

    Example:
        >>> t, h, b = jnp.zeros(2), jnp.zeros(2), jnp.array([0.5, -0.1])
        >>> [round(v, 3) for v in Centred(Affine()).forward(jnp.ones(2), (t, h, b))[1].tolist()]
        [0.3, -0.3]
    """

    law: Affine
    num_conditioned: ClassVar[int] = Affine.num_conditioned
    num_free: ClassVar[int] = Affine.num_free

    def log_scale(self, params: Params) -> Array:
        """The centred log-scale."""
        s = self.law.log_scale(params)
        return s - s.mean(-1, keepdims=True)

    def forward(self, z: Array, params: Params) -> tuple[Array, Array]:
        """Return ``z * exp(s - mean(s)) + t`` and ``s - mean(s)``."""
        s = self.log_scale(params)
        x = z * jnp.exp(s) + params[0]
        return x, jnp.broadcast_to(s, x.shape)

    def inverse(self, x: Array, params: Params) -> tuple[Array, Array]:
        """Return ``(x - t) * exp(mean(s) - s)`` and ``mean(s) - s``."""
        s = self.log_scale(params)
        z = (x - params[0]) * jnp.exp(-s)
        return z, jnp.broadcast_to(-s, z.shape)
