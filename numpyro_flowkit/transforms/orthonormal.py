"""Matrices of orthonormal columns, for Sylvester layers."""

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from flowkit_core.specs import ChosenColumns, ColumnsSpec, OrthogonalColumns
from numpyro_flowkit.transforms.matrices import reflect


def orthonormal_columns(
    spec: ColumnsSpec, dtype: DTypeLike, input_dim: int, rank: int, reflections: Array | None
) -> Array:
    r"""Q of shape (D, M) with ``Q^T Q = I`` to rounding, whatever the parameters.

    Q is the first M columns of a product of H Householder reflections (`matrices.reflect`).
    "orthogonal" takes M reflections whose vectors are unit lower triangular, which reaches all Q
    (up to signs of columns) with no parameter too many.

    Args:
        spec: where Q comes from.
        dtype: of Q.
        input_dim: D.
        rank: M.
        reflections: the array of that name, if the spec has one.

    Cost: D H (H + M) once per call.
    """
    if reflections is None:
        assert isinstance(spec, ChosenColumns)
        return jnp.eye(input_dim, dtype=dtype)[:, jnp.array(spec.coordinates)]
    if isinstance(spec, OrthogonalColumns):
        reflections = jnp.tril(reflections, -1) + jnp.eye(input_dim, rank, dtype=dtype)
    return reflect(reflections, jnp.eye(rank, input_dim, dtype=dtype)).T
