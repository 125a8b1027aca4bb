"""QR-linear layer."""

import torch
from torch import Tensor

from pyro_flowkit.transforms.linear import Linear
from pyro_flowkit.transforms.matrices import (
    apply,
    identity_like,
    reflection_factor,
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

    Cost: D^2 per point in either direction, plus D^3 per call. Both directions are exact.

    Stability: Q is orthogonal to rounding whatever the parameters.

    Args:
        spec: ``QRLinearSpec(input_dim)``.
        arrays: reflections (below the diagonal), upper (above it), log_diagonal, shift.

    References:
        Golub, Van Loan, "Matrix Computations", 4th ed., section 5.1.7 (compact WY form); Joffrain
        et al., "Accumulating Householder transformations, revisited", 2006 (T from V^T V).

    Example:
        >>> from flowkit_core.specs import QRLinearSpec
        >>> square, row = torch.ones(2, 2), torch.zeros(2)
        >>> arrays = {"reflections": square, "upper": 0 * square, "log_diagonal": row, "shift": row}
        >>> x = QRLinear(QRLinearSpec(2), arrays)(torch.tensor([3.0, 4.0]))
        >>> [round(v, 3) for v in x.tolist()]
        [-4.0, 3.0]
    """

    reflections: Tensor
    upper: Tensor
    log_diagonal: Tensor

    def _orthogonal(self) -> Tensor:
        vectors = unit_lower(self.reflections)
        factor = reflection_factor(vectors)
        product = torch.linalg.solve_triangular(factor, vectors.T, upper=True)
        return vectors @ product - identity_like(vectors)

    def _triangle(self) -> Tensor:
        return upper_with_diagonal(self.upper, self.log_diagonal)

    def _log_diagonal(self) -> Tensor:
        return self.log_diagonal

    def _multiply(self, z: Tensor) -> Tensor:
        return apply(self._orthogonal() @ self._triangle(), z)

    def _solve(self, x: Tensor) -> Tensor:
        return solve(self._triangle(), apply(self._orthogonal().T, x), is_lower=False)

    def _solve_transposed(self, score: Tensor) -> Tensor:
        # (Q R)^-T = Q R^-T
        back = solve(self._triangle(), score, is_lower=False, transpose=True)
        return apply(self._orthogonal(), back)
