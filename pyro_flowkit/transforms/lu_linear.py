"""LU-linear layer."""

from torch import Tensor

from pyro_flowkit.transforms.linear import Linear
from pyro_flowkit.transforms.matrices import apply, solve, unit_lower, upper_with_diagonal


class LULinear(Linear):
    """``x = L U z + shift``: L unit lower triangular, U upper triangular with positive diagonal.

    ``log |det| = sum(log_diagonal)``, a sum of logs and never the log of a product.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: D^2 per point in either direction, plus D^3 per call forward, where the two factors are
    multiplied once for all points; the inverse solves two triangular systems and never forms W^-1.
    Both directions are exact.

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

    def _factors(self) -> tuple[Tensor, Tensor]:
        return unit_lower(self.lower), upper_with_diagonal(self.upper, self.log_diagonal)

    def _log_diagonal(self) -> Tensor:
        return self.log_diagonal

    def _multiply(self, z: Tensor) -> Tensor:
        lower, upper = self._factors()
        return apply(lower @ upper, z)

    def _solve(self, x: Tensor) -> Tensor:
        lower, upper = self._factors()
        return solve(upper, solve(lower, x, is_lower=True), is_lower=False)

    def _solve_transposed(self, score: Tensor) -> Tensor:
        lower, upper = self._factors()
        score = solve(upper, score, is_lower=False, transpose=True)
        return solve(lower, score, is_lower=True, transpose=True)
