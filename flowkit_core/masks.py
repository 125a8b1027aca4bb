"""Masks and orders: degrees of MADE, coupling masks, orders of autoregression.

Degrees follow Germain et al. 2015 (MADE), section 3, with two changes. They are **sorted**, so the
units that become computable at one step of the sequential direction lie side by side in memory.
And units of degree 0 exist when there is a context: they see the context alone, so that even the
first coordinate's law can depend on it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Degrees = NDArray[np.int64]
Mask = NDArray[np.bool_]


def hidden_degrees(input_dim: int, width: int, *, context: bool) -> Degrees:
    """Sorted degrees of ``width`` hidden units, spread evenly.

    A unit of degree d sees the first d coordinates (in autoregressive order). Without context the
    degrees are 1 .. D-1, with context 0 .. D-1. For D = 1 all are 0.

    Example:
        >>> hidden_degrees(4, 6, context=False)
        array([1, 1, 2, 2, 3, 3])
        >>> hidden_degrees(3, 6, context=True)
        array([0, 0, 1, 1, 2, 2])
    """
    lowest = 0 if context or input_dim == 1 else 1
    return lowest + (np.arange(width) * (input_dim - lowest)) // width


def units_up_to(input_dim: int, width: int, *, context: bool) -> list[int]:
    """How many of the units of `hidden_degrees` have degree j or less, for j = 0 .. D-1.

    Takes no memory for the units themselves.

    Example:
        >>> units_up_to(4, 6, context=False)
        [0, 2, 4, 6]
    """
    lowest = 0 if context or input_dim == 1 else 1
    steps = input_dim - lowest
    # Unit k has degree lowest + k * steps // width: at most j if k * steps < (j+1-lowest) * width.
    return [max(0, -(-(j + 1 - lowest) * width // steps)) for j in range(input_dim)]


def input_mask(degrees: Degrees, input_dim: int) -> Mask:
    """Which inputs (columns) a hidden unit (row) sees: positions below its degree."""
    return degrees[:, None] > np.arange(input_dim)[None, :]


def hidden_mask(degrees_out: Degrees, degrees_in: Degrees) -> Mask:
    """Which units of the layer before (columns) a hidden unit (row) sees: degrees up to its own."""
    return degrees_out[:, None] >= degrees_in[None, :]


def output_mask(input_dim: int, degrees: Degrees) -> Mask:
    """Which hidden units (columns) the law of a position (row) sees: degrees up to the position.

    Positions count from 0, so position j has j predecessors and sees units of degree <= j.
    """
    return np.arange(input_dim)[:, None] >= degrees[None, :]


def strict_mask(input_dim: int) -> Mask:
    """The mask of a network with no hidden layer: position j sees positions below j."""
    return np.tril(np.ones((input_dim, input_dim), dtype=bool), -1)


def alternating_mask(input_dim: int, *, flip: bool = False) -> tuple[bool, ...]:
    """Even coordinates pass through (True), odd ones are transformed; ``flip`` swaps the roles.

    Example:
        >>> alternating_mask(5)
        (True, False, True, False, True)
    """
    return tuple((i % 2 == 0) != flip for i in range(input_dim))


def half_mask(input_dim: int, *, flip: bool = False) -> tuple[bool, ...]:
    """The first half (rounded up) passes through (True); ``flip`` swaps the roles.

    Example:
        >>> half_mask(5, flip=True)
        (False, False, False, True, True)
    """
    return tuple((i < (input_dim + 1) // 2) != flip for i in range(input_dim))


def checkerboard_mask(height: int, width: int, *, flip: bool = False) -> Mask:
    """Pixels of even row plus column pass through (True); ``flip`` swaps the roles. Any size.

    Example:
        >>> checkerboard_mask(2, 3)
        array([[ True, False,  True],
               [False,  True, False]])
    """
    return (np.add.outer(np.arange(height), np.arange(width)) % 2 == 0) != flip


def natural_order(input_dim: int) -> tuple[int, ...]:
    """0, 1, ..., D-1."""
    return tuple(range(input_dim))


def reverse_order(input_dim: int) -> tuple[int, ...]:
    """D-1, ..., 1, 0."""
    return tuple(reversed(range(input_dim)))


def random_order(input_dim: int, generator: np.random.Generator) -> tuple[int, ...]:
    """An order drawn uniformly from ``generator``."""
    return tuple(int(i) for i in generator.permutation(input_dim))


def invert_order(order: Sequence[int]) -> tuple[int, ...]:
    """The order that undoes ``order``: ``x[order][invert_order(order)] == x``.

    Example:
        >>> invert_order((2, 0, 1))
        (1, 2, 0)
    """
    inverse = [0] * len(order)
    for position, index in enumerate(order):
        inverse[index] = position
    return tuple(inverse)
