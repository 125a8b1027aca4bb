"""Checks of user input whose messages say what was got and what was expected."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


def positive_int(name: str, value: object) -> int:
    """Return ``value`` as an int of at least 1.

    Raises:
        TypeError: if it is no integer (``True`` is none either).
        ValueError: if it is below 1.
    """
    return int_at_least(name, value, 1)


def int_at_least(name: str, value: object, smallest: int) -> int:
    """Return ``value`` as an int of at least ``smallest``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if value < smallest:
        raise ValueError(f"{name}: expected an integer >= {smallest}, got {value}")
    return int(value)


def positive_float(name: str, value: object) -> float:
    """Return ``value`` as a finite float above zero."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the largest float
        number = math.inf
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name}: expected a finite number > 0, got {value}")
    return number


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of the ``allowed`` names."""
    names = tuple(allowed)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, names))}, got {value!r}")
    return value


def boolean(name: str, value: object) -> bool:
    """Return ``value`` if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return value


def widths(name: str, value: object) -> tuple[int, ...]:
    """Return layer widths as a tuple of positive integers (it may be empty)."""
    return tuple(positive_int(f"{name}[{i}]", w) for i, w in enumerate(sequence(name, value)))


def permutation(name: str, value: object) -> tuple[int, ...]:
    """Return an order of 0 .. D-1 in which each index stands exactly once."""
    order = tuple(int_at_least(f"{name}[{i}]", j, 0) for i, j in enumerate(sequence(name, value)))
    if not order:
        raise ValueError(f"{name}: expected at least one index, got none")
    if sorted(order) != list(range(len(order))):
        raise ValueError(
            f"{name}: expected each of 0 .. {len(order) - 1} exactly once, got {order}"
        )
    return order


def boolean_mask(name: str, value: object) -> tuple[bool, ...]:
    """Return a mask as a tuple of booleans; arrays of dtype bool are welcome."""
    mask = []
    for i, entry in enumerate(sequence(name, value)):
        flag = entry.item() if hasattr(entry, "item") else entry
        if not isinstance(flag, bool):
            raise TypeError(f"{name}[{i}]: expected True or False, got {entry!r}")
        mask.append(flag)
    if not mask:
        raise ValueError(f"{name}: expected at least one entry, got none")
    return tuple(mask)


def image_shape(name: str, value: object) -> tuple[int, int, int]:
    """Return the shape of an image as (channels, height, width)."""
    extents = sequence(name, value)
    if len(extents) != 3:
        raise ValueError(f"{name}: expected (channels, height, width), got {extents}")
    channels, height, width = (positive_int(f"{name}[{i}]", n) for i, n in enumerate(extents))
    return channels, height, width


def instance(name: str, value: object, expected: type) -> Any:
    """Return ``value`` if it is an instance of ``expected``."""
    if not isinstance(value, expected):
        raise TypeError(f"{name}: expected a {expected.__name__}, got {type(value).__name__}")
    return value


def guide(value: object) -> None:
    """Raise unless ``value`` can be called as a guide is."""
    if isinstance(value, type):
        raise TypeError(f"guide: expected a guide, got the class itself, {value.__name__}")
    if not callable(value):
        raise TypeError(f"guide: expected a guide, got {value!r}")


def sequence(name: str, value: object) -> tuple[Any, ...]:
    """Return the entries of a one-dimensional sequence as a tuple."""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise TypeError(f"{name}: expected a sequence, got {value!r}")
    if getattr(value, "ndim", 1) != 1:
        raise ValueError(f"{name}: expected one dimension, got {value.ndim}")  # type: ignore[attr-defined]
    return tuple(value)
