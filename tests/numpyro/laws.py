"""A user's own law: an affine map followed by asinh."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from numpyro_flowkit.laws import Law


@dataclass(frozen=True)
class ArcSinh(Law):
    """``x = asinh(z exp(s) + t)`` with conditioned s and t, and one free parameter added to t."""

    num_conditioned: ClassVar[int] = 2
    num_free: ClassVar[int] = 1

    def forward(self, z, params):
        raw, t, free = params
        s = jnp.tanh(raw)
        inner = z * jnp.exp(s) + t + free
        return jnp.arcsinh(inner), s - 0.5 * jnp.log1p(inner**2)

    def inverse(self, x, params):
        raw, t, free = params
        s = jnp.tanh(raw)
        inner = jnp.sinh(x)
        return (inner - t - free) * jnp.exp(-s), jnp.log(jnp.cosh(x)) - s
