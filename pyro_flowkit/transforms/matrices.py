"""Triangular matrices from free tensors, and products and solves of rows with them."""

import torch
from torch import Tensor


def identity_like(free: Tensor) -> Tensor:
    """The identity matrix of that size, dtype and device."""
    return torch.eye(free.shape[-1], dtype=free.dtype, device=free.device)


def unit_lower(free: Tensor) -> Tensor:
    """The strict lower triangle of ``free`` with ones on the diagonal."""
    return torch.tril(free, -1) + identity_like(free)


def upper_with_diagonal(free: Tensor, log_diagonal: Tensor) -> Tensor:
    """The strict upper triangle of ``free`` with ``exp(log_diagonal)`` on the diagonal."""
    return torch.triu(free, 1) + torch.diag(torch.exp(log_diagonal))


def lower_with_diagonal(free: Tensor, log_diagonal: Tensor) -> Tensor:
    """The strict lower triangle of ``free`` with ``exp(log_diagonal)`` on the diagonal."""
    return torch.tril(free, -1) + torch.diag(torch.exp(log_diagonal))


def apply(matrix: Tensor, rows: Tensor) -> Tensor:
    """``matrix @ row`` for each row of (..., D)."""
    return rows @ matrix.T


def solve(
    matrix: Tensor,
    rows: Tensor,
    *,
    is_lower: bool,
    transpose: bool = False,
    unit_diagonal: bool = False,
) -> Tensor:
    """``matrix^-1 @ row`` for each row of (..., D), or with the transposed matrix.

    Cost: D^2 per row, by one triangular solve with many right-hand sides.

    Args:
        matrix: (D, D); only one of its triangles is read.
        rows: (..., D).
        is_lower: which triangle that is.
        transpose: solve with the transposed matrix instead.
        unit_diagonal: take the diagonal to be ones, without reading it.

    Example:
        >>> lower = torch.tensor([[2.0, 0.0], [2.0, 1.0]])
        >>> solve(lower, torch.tensor([2.0, 3.0]), is_lower=True)
        tensor([1., 1.])
    """
    flat = rows.reshape(-1, rows.shape[-1])
    # Rows times a matrix: x A^T = b is A x^T = b^T.
    right = matrix if transpose else matrix.T
    solved = torch.linalg.solve_triangular(
        right, flat, upper=is_lower != transpose, left=False, unitriangular=unit_diagonal
    )
    return solved.reshape(rows.shape)


def reflection_factor(vectors: Tensor) -> Tensor:
    """The inverse of T in ``1 - V T V^T``, the product of reflections by the columns of V.

    ``T^-1 = striu(V^T V) + diag(V^T V) / 2``, upper triangular (the compact WY form). A column of
    zeros reflects nothing.

    Args:
        vectors: V, (D, K), the first column's reflection leftmost in the product.

    References:
        Joffrain et al., "Accumulating Householder transformations, revisited", 2006.
    """
    gram = vectors.T @ vectors
    halves = torch.diagonal(gram) / 2
    return torch.triu(gram, 1) + torch.diag(torch.where(halves > 0, halves, 1))


def reflect(vectors: Tensor, rows: Tensor, *, transpose: bool = False) -> Tensor:
    """``(1 - V T V^T) row`` for each row of (..., D): Householder reflections one after the other.

    Cost: 2 K D per row, plus K^2 D.

    Args:
        vectors: V, (D, K), the last column's reflection applied first.
        rows: (..., D).
        transpose: apply the inverse, the reflections in the opposite order.

    Example:
        >>> reflect(torch.tensor([[1.0], [0.0]]), torch.tensor([3.0, 4.0])).tolist()
        [-3.0, 4.0]
    """
    if vectors.shape[-1] == 1:  # nothing to solve, which is half of what a single one takes
        vector = vectors[:, 0]
        square = vector @ vector
        return rows - (rows @ vector)[..., None] * (
            vector * (2 / torch.where(square > 0, square, 1))
        )
    inner = apply(vectors.T, rows)
    factor = reflection_factor(vectors)
    return rows - apply(vectors, solve(factor, inner, is_lower=False, transpose=transpose))
