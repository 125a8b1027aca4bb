"""QR-linear layer."""

import torch
from torch import Tensor

from pyro_flowkit.transforms.linear import Linear
from pyro_flowkit.transforms.lu_linear import _solve_from_right


class QRLinear(Linear):
    r"""``x = Q R z + shift``: Q orthogonal, R upper triangular with positive diagonal.

    Q is minus a product of D Householder reflections whose vectors form a unit lower triangular
    matrix V (columns). In the compact WY form the product is ``I - V T V^T`` with
    ``T^-1 = striu(V^T V) + diag(V^T V) / 2``. At V = I it is exactly -I, so Q starts exactly at
    the identity, and the D (D - 1) / 2 free entries are as many as an orthogonal matrix has.
    ``log |det| = sum(log_diagonal)``.

    Cost: D^2 per point in either direction, plus D^3 per call; both directions are exact.

    Args:
        spec: ``QRLinearSpec(input_dim)``.
        arrays: reflections (below the diagonal), upper (above it), log_diagonal, shift.

    References:
        Golub, Van Loan, "Matrix Computations", 4th ed., section 5.1.7 (compact WY form); Joffrain
        et al., "Accumulating Householder transformations, revisited", 2006 (T from V^T V).
    """

    def _orthogonal(self) -> Tensor:
        identity = torch.eye(
            self.input_dim, dtype=self.reflections.dtype, device=self.reflections.device
        )
        vectors = torch.tril(self.reflections, -1) + identity
        gram = vectors.T @ vectors
        inverse_factor = torch.triu(gram, 1) + torch.diag(torch.diagonal(gram) / 2)
        product = torch.linalg.solve_triangular(inverse_factor, vectors.T, upper=True)
        return vectors @ product - identity

    def _upper(self) -> Tensor:
        return torch.triu(self.upper, 1) + torch.diag(torch.exp(self.log_diagonal))

    def _log_diagonal(self) -> Tensor:
        diagonal: Tensor = self.log_diagonal
        return diagonal

    def _multiply(self, z: Tensor) -> Tensor:
        return z @ (self._orthogonal() @ self._upper()).T

    def _solve(self, x: Tensor) -> Tensor:
        return _solve_from_right(self._upper().T, x @ self._orthogonal(), upper=False)

    def _solve_transposed(self, score: Tensor) -> Tensor:
        # (Q R)^-T = Q R^-T, for rows: score R^-1 Q^T.
        return _solve_from_right(self._upper(), score, upper=True) @ self._orthogonal().T
