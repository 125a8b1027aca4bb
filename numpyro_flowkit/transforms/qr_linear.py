"""QR-linear layer."""

from jax import Array

from numpyro_flowkit.transforms.linear import Linear
from numpyro_flowkit.transforms.matrices import (
    apply,
    reflect,
    solve,
    unit_lower,
    upper_with_diagonal,
)


class QRLinear(Linear):
    r"""``x = Q R z + shift``: Q orthogonal, R upper triangular with positive diagonal.

    Q is minus a product of D Householder reflections whose vectors are the columns of a unit lower
    triangular V. In the compact WY form the product is ``I - V T V^T`` with
    ``T^-1 = striu(V^T V) + diag(V^T V) / 2``. At V = I it is exactly -I, so Q starts exactly at
    the identity, and its D (D - 1) / 2 free entries are as many as an orthogonal matrix has.
    ``log |det| = sum(log_diagonal)``.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: four triangular products or solves per point in either direction, plus D^3 per call for
    V^T V. Both directions are exact.

    Stability: Q is orthogonal to rounding whatever the parameters.

    Args:
        spec: ``QRLinearSpec(input_dim)``.
        arrays: reflections (below the diagonal), upper (above it), log_diagonal, shift.

    References:
        Golub, Van Loan, "Matrix Computations", 4th ed., section 5.1.7 (compact WY form); Joffrain
        et al., "Accumulating Householder transformations, revisited", 2006 (T from V^T V).

    Example:
        >>> from flowkit_core.specs import QRLinearSpec
        >>> square, row = jnp.ones((2, 2)), jnp.zeros(2)
        >>> arrays = {"reflections": square, "upper": 0 * square, "log_diagonal": row, "shift": row}
        >>> x = QRLinear(QRLinearSpec(2), arrays)(jnp.array([3.0, 4.0]))
        >>> [round(v, 3) for v in x.tolist()]
        [-4.0, 3.0]
    """

    leaf_names = ("reflections", "upper", "log_diagonal", "shift")

    reflections: Array
    upper: Array
    log_diagonal: Array

    def _rotate(self, rows: Array, *, back: bool = False) -> Array:
        """``Q row``, or ``Q^T row`` with ``back``, for each row; Q itself is not formed."""
        return -reflect(unit_lower(self.reflections), rows, transpose=back)

    def _triangle(self) -> Array:
        return upper_with_diagonal(self.upper, self.log_diagonal)

    def _log_diagonal(self) -> Array:
        return self.log_diagonal

    def _multiply(self, z: Array) -> Array:
        return self._rotate(apply(self._triangle(), z))

    def _solve(self, x: Array) -> Array:
        return solve(self._triangle(), self._rotate(x, back=True), is_lower=False)

    def _solve_transposed(self, score: Array) -> Array:
        # (Q R)^-T = Q R^-T
        return self._rotate(solve(self._triangle(), score, is_lower=False, transpose=True))
