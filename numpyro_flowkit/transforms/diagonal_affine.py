"""Diagonal affine layer."""

import jax.numpy as jnp
from jax import Array

from numpyro_flowkit.transforms.linear import Linear


class DiagonalAffine(Linear):
    """``x = exp(log_scale) * z + shift``, coordinate by coordinate.

    ``log |det| = sum(log_scale)``.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: D per point in either direction; both directions are exact.

    Args:
        spec: ``DiagonalAffineSpec(input_dim, frozen=False)``.
        arrays: log_scale and shift.

    References:
        Dinh, Krueger, Bengio, "NICE", 2015, section 3.3 (its final scaling).

    Example:
        >>> from flowkit_core.specs import DiagonalAffineSpec
        >>> arrays = {"log_scale": jnp.zeros(2), "shift": jnp.array([1.0, -1.0])}
        >>> DiagonalAffine(DiagonalAffineSpec(2), arrays)(jnp.zeros(2)).tolist()
        [1.0, -1.0]
    """

    leaf_names = ("log_scale", "shift")

    log_scale: Array

    def _log_diagonal(self) -> Array:
        return self._weight("log_scale")

    def _multiply(self, z: Array) -> Array:
        return z * jnp.exp(self._weight("log_scale"))

    def _solve(self, x: Array) -> Array:
        return x * jnp.exp(-self._weight("log_scale"))

    def _solve_transposed(self, score: Array) -> Array:
        return score * jnp.exp(-self._weight("log_scale"))
