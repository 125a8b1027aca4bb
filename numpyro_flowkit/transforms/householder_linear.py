"""Householder layer: a rotation by a few reflections."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from flowkit_core.specs import HouseholderLinearSpec
from numpyro_flowkit.transforms.linear import Linear
from numpyro_flowkit.transforms.matrices import reflect


class HouseholderLinear(Linear):
    r"""``x = Q z + shift``: Q a product of K Householder reflections ``1 - 2 v v^T / |v|^2``.

    K is even, since a rotation has determinant 1 and each reflection -1. Two neighbours in the
    product start with the same coordinate vector, ``v_{2i} = v_{2i+1} = e_i``, and so undo each
    other: Q starts exactly at the identity. The log-determinant is 0.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: 2 K D per point in either direction, plus K^2 D per call. Both directions are exact.

    Stability: Q is orthogonal to rounding whatever the parameters.

    Args:
        spec: ``HouseholderLinearSpec(input_dim, num_reflections)``.
        arrays: reflections, (K, D), what is added to the coordinate vectors; shift.

    References:
        Tomczak, Welling, "Improving Variational Auto-Encoders using Householder Flow", 2016; Golub,
        Van Loan, "Matrix Computations", 4th ed., section 5.1.7 (compact WY form).

    Example:
        >>> from flowkit_core.specs import HouseholderLinearSpec
        >>> arrays = {"reflections": jnp.array([[0.0, 0.0], [0.0, 1.0]]), "shift": jnp.zeros(2)}
        >>> x = HouseholderLinear(HouseholderLinearSpec(2, 2), arrays)(jnp.array([3.0, 4.0]))
        >>> [round(v, 3) for v in x.tolist()]
        [4.0, -3.0]
    """

    leaf_names = ("reflections", "shift")

    spec: HouseholderLinearSpec
    reflections: Array

    def _vectors(self) -> Array:
        """The vectors v as columns, (D, K)."""
        free = self._weight("reflections")
        start = np.eye(self.spec.input_dim)[list(self.spec.axes)]
        return (free + start.astype(free.dtype)).T

    def _log_diagonal(self) -> Array:
        return jnp.zeros((), self.shift.dtype)

    def _multiply(self, z: Array) -> Array:
        return reflect(self._vectors(), z)

    def _solve(self, x: Array) -> Array:
        return reflect(self._vectors(), x, transpose=True)

    def _solve_transposed(self, score: Array) -> Array:
        return reflect(self._vectors(), score)  # Q^-T = Q
