"""Matrices of orthonormal columns, for Sylvester layers."""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from flowkit_core.specs import ChosenColumns, ColumnsSpec, OrthogonalColumns
from numpyro_flowkit.transforms.matrices import solve


def orthonormal_columns(
    spec: ColumnsSpec, dtype: DTypeLike, input_dim: int, rank: int, reflections: Array | None
) -> Array:
    r"""Q of shape (D, M) with ``Q^T Q = I`` to rounding, whatever the parameters.

    With the vectors of H Householder reflections as the columns of V, their product is
    ``I - V T V^T``, ``T^-1 = striu(V^T V) + diag(V^T V) / 2`` (compact WY form); Q is its first M
    columns. "orthogonal" takes M reflections and V unit lower triangular, which reaches all Q
    with no parameter too many, and minus the product, so that no reflection (V = I) is the
    identity.

    Args:
        spec: where Q comes from.
        dtype: of Q.
        input_dim: D.
        rank: M.
        reflections: the array of that name, if the spec has one.

    Cost: D H (H + M) once per call.

    References:
        Golub, Van Loan, "Matrix Computations", 4th ed., section 5.1.7; Joffrain et al.,
        "Accumulating Householder transformations, revisited", 2006.
    """
    identity = jnp.eye(input_dim, rank, dtype=dtype)
    if reflections is None:
        assert isinstance(spec, ChosenColumns)
        return jnp.eye(input_dim, dtype=dtype)[:, jnp.array(spec.coordinates)]
    if not isinstance(spec, OrthogonalColumns):
        return identity - _reflected(reflections, rank)
    return _reflected(jnp.tril(reflections, -1) + identity, rank) - identity


def _reflected(vectors: Array, rank: int) -> Array:
    """The first M columns of ``V T V^T``."""
    gram = jnp.matmul(vectors.T, vectors, precision=lax.Precision.HIGHEST)
    # A vector of zeros reflects nothing: its row and column of T are multiplied by zero.
    halves = jnp.maximum(jnp.diagonal(gram) / 2, jnp.finfo(gram.dtype).tiny)
    inverse_factor = jnp.triu(gram, 1) + jnp.diag(halves)
    product = solve(inverse_factor, vectors[:rank], is_lower=False)
    return jnp.matmul(vectors, product.T, precision=lax.Precision.HIGHEST)
