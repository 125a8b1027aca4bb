"""Static selections along the last axis, by slices where the indices allow it.

A gather is slow on CPUs and its gradient is a scatter, which is slower still; slices and paddings
are neither. Natural and reverse orders, halves and alternating masks are all slices.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from flowkit_core.masks import invert_order


def take(values: Array, indices: Sequence[int]) -> Array:
    """``values[..., indices]``.

    Example:
        >>> take(jnp.arange(5), (4, 2, 0)).tolist()
        [4, 2, 0]
    """
    step = _step(indices)
    if step is None:
        return values[..., np.asarray(indices, dtype=np.int32)]
    if step == 1 and len(indices) == values.shape[-1]:
        return values
    stop = indices[-1] + step
    return values[..., indices[0] : stop if stop >= 0 else None : step]


def merge(parts: Sequence[Array], indices: Sequence[Sequence[int]]) -> Array:
    """Undo ``parts = [take(values, i) for i in indices]``; the indices partition the last axis.

    Example:
        >>> merge([jnp.array([1, 3]), jnp.array([2])], [(0, 2), (1,)]).tolist()
        [1, 2, 3]
    """
    filled = [(part, index) for part, index in zip(parts, indices, strict=True) if len(index)]
    steps = [_step(index) for _, index in filled]
    size = sum(len(index) for _, index in filled)
    if steps == [2, 2] and len(filled[0][1]) == len(filled[1][1]):
        # Alternating halves: the fastest way to interleave them, which paddings are not.
        even, odd = (part for part, _ in sorted(filled, key=lambda pair: pair[1][0]))
        return jnp.moveaxis(jnp.stack((even, odd)), 0, -1).reshape(*even.shape[:-1], size)
    if len(filled) > 1 and all(step is not None and step > 0 for step in steps):
        padded = [
            _pad(part, index[0], size - index[-1] - 1, step or 1)
            for (part, index), step in zip(filled, steps, strict=True)
        ]
        return sum(padded[1:], padded[0])
    order = [i for _, index in filled for i in index]
    return take(jnp.concatenate([part for part, _ in filled], axis=-1), invert_order(order))


def _step(indices: Sequence[int]) -> int | None:
    """The common difference of an arithmetic progression; None if it is none."""
    if len(indices) == 0:
        return None
    if len(indices) == 1:
        return 1
    steps = set(np.diff(indices).tolist())
    return steps.pop() if len(steps) == 1 else None


def _pad(values: Array, before: int, after: int, step: int) -> Array:
    """Spread values over the last axis with zeros around and between them."""
    config = [(0, 0, 0)] * (values.ndim - 1) + [(before, after, step - 1)]
    return lax.pad(values, jnp.zeros((), values.dtype), config)
