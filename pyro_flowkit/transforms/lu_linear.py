"""LU-linear layer."""

import torch
from torch import Tensor

from pyro_flowkit.transforms.linear import Linear


class LULinear(Linear):
    """``x = L U z + shift``: L unit lower triangular, U upper triangular with positive diagonal.

    ``log |det| = sum(log_diagonal)``.

    Cost: D^2 per point in either direction, plus D^3 / 3 per call forward; the inverse solves two
    triangular systems and never forms W^-1. Both directions are exact.

    Args:
        spec: ``LULinearSpec(input_dim)``.
        arrays: lower, upper (strict triangles are used), log_diagonal, shift.

    References:
        Kingma, Dhariwal, "Glow", 2018, equation 10.
    """

    def _lower(self) -> Tensor:
        return torch.tril(self.lower, -1) + torch.eye(
            self.input_dim, dtype=self.lower.dtype, device=self.lower.device
        )

    def _upper(self) -> Tensor:
        return torch.triu(self.upper, 1) + torch.diag(torch.exp(self.log_diagonal))

    def _log_diagonal(self) -> Tensor:
        diagonal: Tensor = self.log_diagonal
        return diagonal

    def _multiply(self, z: Tensor) -> Tensor:
        return z @ (self._lower() @ self._upper()).T

    def _solve(self, x: Tensor) -> Tensor:
        # Rows of points: W z = x is z^T U^T L^T = x^T, two solves from the right.
        y = _solve_from_right(self._lower().T, x, upper=True, unit=True)
        return _solve_from_right(self._upper().T, y, upper=False)

    def _solve_transposed(self, score: Tensor) -> Tensor:
        y = _solve_from_right(self._upper(), score, upper=True)
        return _solve_from_right(self._lower(), y, upper=False, unit=True)


def _solve_from_right(matrix: Tensor, rows: Tensor, *, upper: bool, unit: bool = False) -> Tensor:
    """Return Y with ``Y matrix = rows`` for a triangular matrix; any batch shape of rows."""
    flat = rows.reshape(-1, rows.shape[-1])
    solved = torch.linalg.solve_triangular(
        matrix, flat, upper=upper, left=False, unitriangular=unit
    )
    return solved.reshape(rows.shape)
