"""LU-linear layer."""

from jax import Array

from numpyro_flowkit.transforms.linear import Linear
from numpyro_flowkit.transforms.matrices import apply, solve, unit_lower, upper_with_diagonal


class LULinear(Linear):
    """``x = L U z + shift``: L unit lower triangular, U upper triangular with positive diagonal.

    ``log |det| = sum(log_diagonal)``, a sum of logs and never the log of a product.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: two triangular products per point forward, two triangular solves back; W^-1 is never
    formed. Both directions are exact.

    Args:
        spec: ``LULinearSpec(input_dim)``.
        arrays: lower, upper (their strict triangles are used), log_diagonal, shift.

    References:
        Kingma, Dhariwal, "Glow", 2018, equation 10.

    Example:
        >>> import jax.numpy as jnp
        >>> from flowkit_core.specs import LULinearSpec
        >>> square, row = jnp.ones((2, 2)), jnp.zeros(2)
        >>> arrays = {"lower": square, "upper": square, "log_diagonal": row, "shift": row}
        >>> LULinear(LULinearSpec(2), arrays)(jnp.array([1.0, 2.0])).tolist()
        [3.0, 5.0]
    """

    leaf_names = ("lower", "upper", "log_diagonal", "shift")

    lower: Array
    upper: Array
    log_diagonal: Array

    def _factors(self) -> tuple[Array, Array]:
        return unit_lower(self.lower), upper_with_diagonal(self.upper, self.log_diagonal)

    def _log_diagonal(self) -> Array:
        return self.log_diagonal

    def _multiply(self, z: Array) -> Array:
        lower, upper = self._factors()
        return apply(lower, apply(upper, z))

    def _solve(self, x: Array) -> Array:
        lower, upper = self._factors()
        return solve(upper, solve(lower, x, is_lower=True), is_lower=False)

    def _solve_transposed(self, score: Array) -> Array:
        lower, upper = self._factors()
        score = solve(upper, score, is_lower=False, transpose=True)
        return solve(lower, score, is_lower=True, transpose=True)
