"""Diagonal affine layer."""

import torch
from torch import Tensor

from pyro_flowkit.transforms.linear import Linear


class DiagonalAffine(Linear):
    """``x = exp(log_scale) * z + shift``, coordinate by coordinate.

    Cost: D per point in either direction; ``log |det| = sum(log_scale)``.

    Args:
        spec: ``DiagonalAffineSpec(input_dim)``.
        arrays: log_scale and shift.
    """

    def _log_diagonal(self) -> Tensor:
        log_scale: Tensor = self.log_scale
        return log_scale

    def _multiply(self, z: Tensor) -> Tensor:
        return z * torch.exp(self.log_scale)

    def _solve(self, x: Tensor) -> Tensor:
        return x * torch.exp(-self.log_scale)

    def _solve_transposed(self, score: Tensor) -> Tensor:
        return score * torch.exp(-self.log_scale)
