"""Matrices of orthonormal columns, for Sylvester layers."""

import torch
from torch import Tensor

from flowkit_core.specs import ChosenColumns, ColumnsSpec, OrthogonalColumns


def orthonormal_columns(
    spec: ColumnsSpec, like: Tensor, input_dim: int, rank: int, reflections: Tensor | None
) -> Tensor:
    r"""Q of shape (D, M) with ``Q^T Q = I`` to rounding, whatever the parameters.

    With the vectors of H Householder reflections as the columns of V, their product is
    ``I - V T V^T``, ``T^-1 = striu(V^T V) + diag(V^T V) / 2`` (compact WY form); Q is its first M
    columns. "orthogonal" takes M reflections and V unit lower triangular, which reaches all Q
    with no parameter too many, and minus the product, so that no reflection (V = I) is the
    identity.

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
    if not isinstance(spec, OrthogonalColumns):
        return identity - _reflected(reflections, rank)
    return _reflected(torch.tril(reflections, -1) + identity, rank) - identity


def _reflected(vectors: Tensor, rank: int) -> Tensor:
    """The first M columns of ``V T V^T``."""
    gram = vectors.T @ vectors
    # A vector of zeros reflects nothing: its row and column of T are multiplied by zero.
    halves = torch.clamp_min(torch.diagonal(gram) / 2, torch.finfo(gram.dtype).tiny)
    inverse_factor = torch.triu(gram, 1) + torch.diag(halves)
    product = torch.linalg.solve_triangular(inverse_factor, vectors[:rank].T, upper=True)
    return vectors @ product
