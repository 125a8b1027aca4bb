"""Diagonal affine layer."""

import torch
from torch import Tensor

from pyro_flowkit.transforms.linear import Linear


class DiagonalAffine(Linear):
    """``x = exp(log_scale) * z + shift``, coordinate by coordinate.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: D per point in either direction, exact; ``log |det| = sum(log_scale)``.

    Args:
        spec: ``DiagonalAffineSpec(input_dim, frozen=False)``.
        arrays: log_scale and shift.

    Example:
        >>> from flowkit_core.specs import DiagonalAffineSpec
        >>> arrays = {"log_scale": torch.tensor([0.0]), "shift": torch.tensor([2.0])}
        >>> DiagonalAffine(DiagonalAffineSpec(1), arrays)(torch.tensor([1.0])).tolist()
        [3.0]
    """

    log_scale: Tensor

    def _log_diagonal(self) -> Tensor:
        return self._weight("log_scale")

    def _multiply(self, z: Tensor) -> Tensor:
        return z * torch.exp(self._weight("log_scale"))

    def _solve(self, x: Tensor) -> Tensor:
        return x * torch.exp(-self._weight("log_scale"))

    def _solve_transposed(self, score: Tensor) -> Tensor:
        return score * torch.exp(-self._weight("log_scale"))
