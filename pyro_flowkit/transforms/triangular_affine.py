"""Triangular affine layer."""

from torch import Tensor

from pyro_flowkit.transforms.linear import Linear
from pyro_flowkit.transforms.matrices import apply, lower_with_diagonal, solve


class TriangularAffine(Linear):
    """``x = L z + shift``: L lower triangular with positive diagonal ``exp(log_diagonal)``.

    ``log |det| = sum(log_diagonal)``. As the last layer of a guide it gives the guide a covariance
    ``L L^T`` of its own, which a Laplace approximation can set.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: one product of D^2 per point forward, one triangular solve back; both are exact.

    Args:
        spec: ``TriangularAffineSpec(input_dim, frozen=False)``.
        arrays: lower (its strict triangle is used), log_diagonal, shift.

    References:
        Kucukelbir et al., "Automatic Differentiation Variational Inference", 2017, section 2.4
        (the full-rank Gaussian).

    Example:
        >>> import torch
        >>> from flowkit_core.specs import TriangularAffineSpec
        >>> row = torch.zeros(2)
        >>> arrays = {"lower": torch.ones(2, 2), "log_diagonal": row, "shift": row}
        >>> TriangularAffine(TriangularAffineSpec(2), arrays)(torch.tensor([1.0, 2.0])).tolist()
        [1.0, 3.0]
    """

    lower: Tensor
    log_diagonal: Tensor

    def _matrix(self) -> Tensor:
        return lower_with_diagonal(self._weight("lower"), self._weight("log_diagonal"))

    def _log_diagonal(self) -> Tensor:
        return self._weight("log_diagonal")

    def _multiply(self, z: Tensor) -> Tensor:
        return apply(self._matrix(), z)

    def _solve(self, x: Tensor) -> Tensor:
        return solve(self._matrix(), x, is_lower=True)

    def _solve_transposed(self, score: Tensor) -> Tensor:
        return solve(self._matrix(), score, is_lower=True, transpose=True)
