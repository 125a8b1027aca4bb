"""Matrices of orthonormal columns, for Sylvester layers."""

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from flowkit_core.specs import ChosenColumns, ColumnsSpec, OrthogonalColumns
from numpyro_flowkit.transforms.matrices import apply, solve


def orthonormal_columns(
    spec: ColumnsSpec, dtype: DTypeLike, input_dim: int, rank: int, reflections: Array | None
) -> Array:
    r"""Q of shape (D, M) with ``Q^T Q = I`` to rounding, whatever the parameters.

    With the unit vectors of H Householder reflections as the columns of V, their product is
    ``I - V T V^T``, ``T^-1 = striu(V^T V) + I / 2`` (compact WY form); Q is its first M columns.
    "orthogonal" takes M reflections whose vectors, before they are normalised, are unit lower
    triangular, which reaches all Q (up to signs of columns) with no parameter too many.

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
    if isinstance(spec, OrthogonalColumns):
        reflections = jnp.tril(reflections, -1) + identity
    # A vector of zeros stays one, and reflects nothing.
    square = (reflections * reflections).sum(0)
    vectors = reflections * lax.rsqrt(jnp.maximum(square, jnp.finfo(square.dtype).tiny))
    product = solve(
        2 * apply(vectors.T, vectors.T), 2 * vectors[:rank], is_lower=False, unit_diagonal=True
    )
    return identity - apply(vectors, product).T
