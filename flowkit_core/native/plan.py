"""What the C side must know of a layer's architecture."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flowkit_core.specs import MADESpec
from flowkit_core.sweep import sweep_steps

# In the order of the enum in tile.h.
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh")

Integers = NDArray[np.int64]


@lru_cache(maxsize=256)
def tables(spec: MADESpec) -> tuple[Integers, Integers, Integers]:
    """Widths, first position of each step, and how many units are known before each step.

    Example:
        >>> net = MADESpec(
        ...     hidden_dims=(4,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     input_dim=3,
        ...     num_params=2,
        ...     residual=False,
        ... )
        >>> widths, positions, units = tables(net)
        >>> widths.tolist(), positions.tolist(), units.tolist()
        ([4], [0, 1, 2, 3], [[0, 0, 2, 4]])
    """
    steps = sweep_steps(spec)
    positions = [*(step.start for step in steps), spec.input_dim]
    units = [
        [*(step.units[i][0] for step in steps), steps[-1].units[i][1]]
        for i in range(len(spec.degrees))
    ]
    shape = (len(spec.degrees), len(positions))
    return (
        np.array(spec.hidden_dims, dtype=np.int64),
        np.array(positions, dtype=np.int64),
        np.array(units, dtype=np.int64).reshape(shape),
    )


def flat_plan(spec: MADESpec, *, affine: bool, inverted: bool, context: bool) -> Integers:
    """The architecture as one row of integers, as xla.c reads it.

    Args:
        spec: the network's.
        affine: whether the law is affine, else additive.
        inverted: whether the parallel map applies the law's inverse.
        context: whether there is a context.
    """
    widths, positions, units = tables(spec)
    header = [
        spec.input_dim,
        spec.num_params,
        len(spec.hidden_dims),
        ACTIVATIONS.index(spec.activation),
        affine,
        inverted,
        context,
        len(positions) - 1,
    ]
    return np.concatenate([np.array(header, dtype=np.int64), widths, positions, units.ravel()])
