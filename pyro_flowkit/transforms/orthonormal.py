"""Matrices of orthonormal columns, for Sylvester layers."""

import torch
from torch import Tensor

from flowkit_core.specs import ChosenColumns, ColumnsSpec, OrthogonalColumns


def orthonormal_columns(
    spec: ColumnsSpec, like: Tensor, input_dim: int, rank: int, reflections: Tensor | None
) -> Tensor:
    r"""Q of shape (D, M) with ``Q^T Q = I`` to rounding, whatever the parameters.

    With the unit vectors of H Householder reflections as the columns of V, their product is
    ``I - V T V^T``, ``T^-1 = striu(V^T V) + I / 2`` (compact WY form); Q is its first M columns.
    "orthogonal" takes M reflections whose vectors, before they are normalised, are unit lower
    triangular, which reaches all Q (up to signs of columns) with no parameter too many.

    Args:
        spec: where Q comes from.
        like: a tensor of the dtype and device wanted.
        input_dim: D.
        rank: M.
        reflections: the array of that name, if the spec has one.

    Cost: D H (H + M) once per call.

    References:
        Golub, Van Loan, "Matrix Computations", 4th ed., section 5.1.7; Joffrain et al.,
        "Accumulating Householder transformations, revisited", 2006.
    """
    identity = torch.eye(input_dim, rank, dtype=like.dtype, device=like.device)
    if reflections is None:
        assert isinstance(spec, ChosenColumns)
        rows = torch.eye(input_dim, dtype=like.dtype, device=like.device)
        return rows[:, list(spec.coordinates)]
    if isinstance(spec, OrthogonalColumns):
        reflections = torch.tril(reflections, -1) + identity
    # A vector of zeros stays one, and reflects nothing.
    square = (reflections * reflections).sum(0)
    vectors = reflections * torch.rsqrt(square.clamp_min(torch.finfo(square.dtype).tiny))
    product = torch.linalg.solve_triangular(
        2 * vectors.T @ vectors, 2 * vectors[:rank].T, upper=True, unitriangular=True
    )
    return identity - vectors @ product
