"""Checks of the arrays that users pass; the messages say what was got and what was expected."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def floating(name: str, value: ArrayLike) -> Array:
    """Return ``value`` as an array of a floating dtype.

    Raises:
        TypeError: for integers, booleans and complex numbers, which no flow maps.
    """
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name}: expected a floating dtype, got {array.dtype}")
    return array


def last_dim(name: str, shape: tuple[int, ...], expected: int) -> None:
    """Raise ValueError unless the last extent of ``shape`` is the expected one."""
    if not shape or shape[-1] != expected:
        raise ValueError(f"{name}: expected shape (..., {expected}), got {tuple(shape)}")


def last_dims(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise ValueError unless ``shape`` ends in the expected one of an event."""
    if shape[-len(expected) :] != expected:
        extents = ", ".join(map(str, expected))
        hint = "; images are (..., channels, height, width)" if len(expected) == 3 else ""
        raise ValueError(f"{name}: expected shape (..., {extents}), got {tuple(shape)}{hint}")


def broadcast_batch(
    name: str,
    batch: tuple[int, ...],
    context: Array | None,
    weights_batch: tuple[int, ...],
) -> tuple[int, ...]:
    """The full batch shape of an input, a context (..., n) and batched weights.

    Raises:
        ValueError: if they do not broadcast.
    """
    context_batch = () if context is None else context.shape[:-1]
    try:
        return jnp.broadcast_shapes(batch, context_batch, weights_batch)
    except ValueError as error:
        raise ValueError(
            f"{name}: batch shape {batch} does not broadcast against that of the context, "
            f"{context_batch}, and of the weights, {weights_batch}"
        ) from error
