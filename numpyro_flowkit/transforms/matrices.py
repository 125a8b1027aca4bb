"""Triangular matrices from free arrays, and products and solves of rows with them."""

import math

import jax.numpy as jnp
from jax import Array, lax


def unit_lower(free: Array) -> Array:
    """The strict lower triangle of ``free`` with ones on the diagonal."""
    return jnp.tril(free, -1) + jnp.eye(free.shape[-1], dtype=free.dtype)


def upper_with_diagonal(free: Array, log_diagonal: Array) -> Array:
    """The strict upper triangle of ``free`` with ``exp(log_diagonal)`` on the diagonal."""
    return jnp.triu(free, 1) + jnp.diag(jnp.exp(log_diagonal))


def lower_with_diagonal(free: Array, log_diagonal: Array) -> Array:
    """The strict lower triangle of ``free`` with ``exp(log_diagonal)`` on the diagonal."""
    return jnp.tril(free, -1) + jnp.diag(jnp.exp(log_diagonal))


def apply(matrix: Array, rows: Array) -> Array:
    """``matrix @ row`` for each row of (..., D), in full precision."""
    return jnp.matmul(rows, matrix.T, precision=lax.Precision.HIGHEST)


def solve(
    matrix: Array,
    rows: Array,
    *,
    is_lower: bool,
    transpose: bool = False,
    unit_diagonal: bool = False,
) -> Array:
    """``matrix^-1 @ row`` for each row of (..., D), or with the transposed matrix.

    Cost: D^2 per row, by one triangular solve with many right-hand sides.

    Args:
        matrix: triangular, (D, D).
        rows: (..., D).
        is_lower: which triangle of the matrix is used.
        transpose: solve with the transposed matrix instead.
        unit_diagonal: take the diagonal to be ones, without reading it.

    Example:
        >>> solve(
        ...     jnp.array([[2.0, 0.0], [2.0, 1.0]]), jnp.array([2.0, 3.0]), is_lower=True
        ... ).tolist()
        [1.0, 1.0]
    """
    flat = rows.reshape(math.prod(rows.shape[:-1]), rows.shape[-1])
    # As columns: solving from the right takes LAPACK a quarter longer.
    solved = lax.linalg.triangular_solve(
        matrix.astype(flat.dtype),
        flat.T,
        left_side=True,
        lower=is_lower,
        transpose_a=transpose,
        unit_diagonal=unit_diagonal,
    )
    return solved.T.reshape(rows.shape)


def reflection_factor(vectors: Array) -> Array:
    """The inverse of T in ``1 - V T V^T``, the product of reflections by the columns of V.

    ``T^-1 = striu(V^T V) + diag(V^T V) / 2``, upper triangular (the compact WY form). A column of
    zeros reflects nothing.

    Args:
        vectors: V, (D, K), the first column's reflection leftmost in the product.

    References:
        Joffrain et al., "Accumulating Householder transformations, revisited", 2006.
    """
    gram = jnp.matmul(vectors.T, vectors, precision=lax.Precision.HIGHEST)
    halves = jnp.diagonal(gram) / 2
    return jnp.triu(gram, 1) + jnp.diag(jnp.where(halves > 0, halves, 1))


def reflect(vectors: Array, rows: Array, *, transpose: bool = False) -> Array:
    """``(1 - V T V^T) row`` for each row of (..., D): Householder reflections one after the other.

    Cost: 2 K D per row, plus K^2 D.

    Args:
        vectors: V, (D, K), the last column's reflection applied first.
        rows: (..., D).
        transpose: apply the inverse, the reflections in the opposite order.

    Example:
        >>> reflect(jnp.array([[1.0], [0.0]]), jnp.array([3.0, 4.0])).tolist()
        [-3.0, 4.0]
    """
    inner = apply(vectors.T, rows)
    factor = reflection_factor(vectors)
    return rows - apply(vectors, solve(factor, inner, is_lower=False, transpose=transpose))
