"""Matrices of orthonormal columns, for Sylvester layers."""

import torch
from torch import Tensor

from flowkit_core.specs import ChosenColumns, ColumnsSpec, OrthogonalColumns
from pyro_flowkit.transforms.matrices import reflect


def orthonormal_columns(
    spec: ColumnsSpec, like: Tensor, input_dim: int, rank: int, reflections: Tensor | None
) -> Tensor:
    r"""Q of shape (D, M) with ``Q^T Q = I`` to rounding, whatever the parameters.

    Q is the first M columns of a product of H Householder reflections (`matrices.reflect`).
    "orthogonal" takes M reflections whose vectors are unit lower triangular, which reaches all Q
    (up to signs of columns) with no parameter too many.

    Args:
        spec: where Q comes from.
        like: a tensor of the dtype and device wanted.
        input_dim: D.
        rank: M.
        reflections: the array of that name, if the spec has one.

    Cost: D H (H + M) once per call.
    """
    if reflections is None:
        assert isinstance(spec, ChosenColumns)
        rows = torch.eye(input_dim, dtype=like.dtype, device=like.device)
        return rows[:, list(spec.coordinates)]
    if isinstance(spec, OrthogonalColumns):
        reflections = torch.tril(reflections, -1) + torch.eye(input_dim, rank).to(like)
    basis = torch.eye(rank, input_dim, dtype=like.dtype, device=like.device)
    return reflect(reflections, basis).T
