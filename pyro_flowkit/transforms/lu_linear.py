"""LU-linear layer."""

import torch
from torch import Tensor

from pyro_flowkit.transforms.checks import tracing
from pyro_flowkit.transforms.linear import Linear
from pyro_flowkit.transforms.matrices import apply, solve


class LULinear(Linear):
    """``x = L U z + shift``: L unit lower triangular, U upper triangular with positive diagonal.

    ``log |det| = sum(log_diagonal)``, a sum of logs and never the log of a product.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: two products of D^2 per point forward (one, and D^3 for all points together, if there are
    more points than coordinates); the inverse solves two triangular systems of D^2 per point and
    never forms W^-1. Both directions are exact; the log-determinant costs D.

    Args:
        spec: ``LULinearSpec(input_dim)``.
        arrays: lower, upper (their strict triangles are used), log_diagonal, shift.

    References:
        Kingma, Dhariwal, "Glow", 2018, equation 10.

    Example:
        >>> import torch
        >>> from flowkit_core.specs import LULinearSpec
        >>> square, row = torch.ones(2, 2), torch.zeros(2)
        >>> arrays = {"lower": square, "upper": square, "log_diagonal": row, "shift": row}
        >>> LULinear(LULinearSpec(2), arrays)(torch.tensor([1.0, 2.0])).tolist()
        [3.0, 5.0]
    """

    lower: Tensor
    upper: Tensor
    log_diagonal: Tensor

    def _log_diagonal(self) -> Tensor:
        return self.log_diagonal

    def _multiply(self, z: Tensor) -> Tensor:
        # Strict triangles and diagonals apart: that spares the matrices that would join them.
        strict_lower, strict_upper = torch.tril(self.lower, -1), torch.triu(self.upper, 1)
        if tracing() or z.numel() > self.input_dim**2:
            # More points than coordinates: one product of the factors, then one for each point.
            upper = torch.diagonal_scatter(strict_upper, self.log_diagonal.exp())
            return apply(upper + strict_lower @ upper, z)
        y = z * self.log_diagonal.exp() + apply(strict_upper, z)
        return y + apply(strict_lower, y)

    def _solve(self, x: Tensor) -> Tensor:
        return self._solve_upper(self._solve_lower(x, transpose=False), transpose=False)

    def _solve_transposed(self, score: Tensor) -> Tensor:
        return self._solve_lower(self._solve_upper(score, transpose=True), transpose=True)

    def _solve_lower(self, rows: Tensor, *, transpose: bool) -> Tensor:
        return solve(self.lower, rows, is_lower=True, transpose=transpose, unit_diagonal=True)

    def _solve_upper(self, rows: Tensor, *, transpose: bool) -> Tensor:
        upper = torch.diagonal_scatter(self.upper, self.log_diagonal.exp())
        return solve(upper, rows, is_lower=False, transpose=transpose)
