"""Low-rank layer: a diagonal matrix and one of low rank."""

import jax.numpy as jnp
from jax import Array

from numpyro_flowkit.transforms.linear import Linear
from numpyro_flowkit.transforms.matrices import apply, reflect, solve, upper_with_diagonal


class LowRankLinear(Linear):
    r"""``x = exp(log_diagonal) * (z + U Q^T z) + shift``: a diagonal plus a matrix of rank r.

    Q is (D, r) with orthonormal columns, by r Householder reflections. Any U (D, r) may stand
    beside it, as long as ``T = 1 + Q^T U`` is invertible, for by the determinant lemma and the
    Woodbury identity

        det(1 + U Q^T) = det T,    (1 + U Q^T)^-1 = 1 - U T^-1 Q^T.

    So T is the parameter, upper triangular with a positive diagonal (a rotation of Q's columns
    turns a general T of positive eigenvalues into such a one), and so is ``left``, the part of U
    that T does not determine: ``U = left + Q (T - 1 - Q^T left)``. At left = 0 and T = 1 it is 0.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: 2 r D per point in either direction, plus r^2 D per call. Both directions are exact;
    ``log |det| = sum(log_diagonal) + sum(log_core)``.

    Stability: never singular; the condition number is that of T, of its diagonal and of left.

    Args:
        spec: ``LowRankLinearSpec(input_dim, rank)``.
        arrays: reflections (below the diagonal), left, upper and log_core (T above and on its
            diagonal), log_diagonal, shift.

    References:
        Golub, Van Loan, "Matrix Computations", 4th ed., sections 2.1.4 and 5.1.7; Rezende, Mohamed,
        "Variational Inference with Normalizing Flows", 2015, appendix A.1 (the same for r = 1).

    Example:
        >>> from flowkit_core.specs import LowRankLinearSpec
        >>> arrays = {
        ...     "reflections": jnp.zeros((2, 1)),
        ...     "left": jnp.array([[0.0], [3.0]]),
        ...     "upper": jnp.zeros((1, 1)),
        ...     "log_core": jnp.zeros(1),
        ...     "log_diagonal": jnp.zeros(2),
        ...     "shift": jnp.zeros(2),
        ... }
        >>> flow = LowRankLinear(LowRankLinearSpec(2, 1), arrays)
        >>> flow(jnp.array([1.0, 2.0])).tolist()
        [1.0, -1.0]
    """

    leaf_names = ("reflections", "left", "upper", "log_core", "log_diagonal", "shift")

    reflections: Array
    left: Array
    upper: Array
    log_core: Array
    log_diagonal: Array

    def _factors(self) -> tuple[Array, Array, Array]:
        """U and Q, (D, r), and T, (r, r)."""
        free = self._weight("reflections")
        dims, rank = free.shape
        identity = jnp.eye(dims, rank, dtype=free.dtype)
        vectors = jnp.tril(free, -1) + identity
        directions = reflect(vectors, identity.T).T
        core = upper_with_diagonal(self._weight("upper"), self._weight("log_core"))
        left = self._weight("left")
        within = core - identity[:rank] - apply(directions.T, left.T).T
        return left + apply(directions, within.T).T, directions, core

    def _log_diagonal(self) -> Array:
        return jnp.concatenate([self._weight("log_diagonal"), self._weight("log_core")])

    def _multiply(self, z: Array) -> Array:
        left, right, _ = self._factors()
        return jnp.exp(self._weight("log_diagonal")) * (z + apply(left, apply(right.T, z)))

    def _solve(self, x: Array) -> Array:
        left, right, core = self._factors()
        scaled = jnp.exp(-self._weight("log_diagonal")) * x
        return scaled - apply(left, solve(core, apply(right.T, scaled), is_lower=False))

    def _solve_transposed(self, score: Array) -> Array:
        # (D (1 + U Q^T))^-T = D^-1 (1 - Q T^-T U^T)
        left, right, core = self._factors()
        inner = solve(core, apply(left.T, score), is_lower=False, transpose=True)
        return jnp.exp(-self._weight("log_diagonal")) * (score - apply(right, inner))
