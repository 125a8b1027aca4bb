"""Products with masked weights that skip a part of the zeros.

Units are sorted by degree, so a masked weight is a staircase: rows see prefixes of the columns. Cut
once across, the upper half of the rows needs about half of the columns, and a quarter of the
multiplications falls away. More cuts save more of them and lose it again to thinner products.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowkit_core.specs import MADESpec
from numpyro_flowkit.conditioners.base import product

# Smaller weights are multiplied in less time than a second product takes to start.
MIN_WEIGHTS = 64 * 64
# The share of the multiplications that has to fall away.
MIN_SAVED = 0.15


class Cut(NamedTuple):
    """Where a masked weight is cut.

    Args:
        groups: blocks of rows with equal masks, one for each parameter of the law in the last
            layer.
        row: first row of the lower part, in each group.
        columns: what the upper part sees.
    """

    groups: int
    row: int
    columns: int


@lru_cache(maxsize=256)
def cut_of(spec: MADESpec, layer: int) -> Cut | None:
    """The cut of a linear layer's weight, or None if it does not pay.

    Example:
        >>> spec = MADESpec(
        ...     hidden_dims=(128, 128),
        ...     activation="relu",
        ...     context_dim=0,
        ...     input_dim=65,
        ...     num_params=2,
        ...     residual=False,
        ... )
        >>> cut_of(spec, 1)
        Cut(groups=1, row=64, columns=64)
        >>> cut_of(spec, 2)
        Cut(groups=2, row=32, columns=62)
    """
    mask = np.asarray(spec.masks[layer])
    groups = spec.num_params if layer == len(spec.masks) - 1 else 1
    rows, row = len(mask) // groups, len(mask) // groups // 2
    seen = np.flatnonzero(mask[:row].any(0))
    columns = int(seen[-1]) + 1 if len(seen) else 0
    saved = row * (mask.shape[1] - columns) / max(rows * mask.shape[1], 1)
    if mask.size < MIN_WEIGHTS or columns == 0 or saved < MIN_SAVED:
        return None
    return Cut(groups, row, columns)


def masked_product(inputs: Array, weight: Array, spec: MADESpec, layer: int) -> Array:
    """``inputs @ weight.T`` for the masked weight of one linear layer.

    Shapes: inputs (..., n), weight (m, n), result (..., m).
    """
    # On an accelerator one large product takes less time than two and a join.
    cut = cut_of(spec, layer) if jax.default_backend() == "cpu" else None
    if cut is None:
        return product(inputs, weight)
    grouped = weight.reshape(cut.groups, -1, weight.shape[1])
    upper = grouped[:, : cut.row, : cut.columns].reshape(-1, cut.columns)
    lower = grouped[:, cut.row :].reshape(-1, weight.shape[1])
    parts = product(inputs[..., : cut.columns], upper), product(inputs, lower)
    split = [part.reshape(*part.shape[:-1], cut.groups, -1) for part in parts]
    return jnp.concatenate(split, -1).reshape(*inputs.shape[:-1], len(weight))
