"""From a network's output to the parameters of a law."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from numpyro_flowkit.laws import Law

# A pytree that maps (inputs, context) to raw parameters; `Conditioner` says what it may be.
ConditionerLike = Callable[[Array, Array | None], Array]


def law_params(
    conditioner: ConditionerLike,
    law: Law,
    free: Array | None,
    inputs: Array,
    context: Array | None,
    num_coordinates: int,
    *,
    axis: int = -1,
) -> tuple[Array, ...]:
    """Parameters of the laws of all coordinates: conditioned ones, then free ones.

    Shapes: the network yields (..., num_conditioned * coordinates), parameter by parameter; each
    parameter is (..., coordinates). Of images, whose coordinates are the channels along axis -3,
    ``free`` is (num_free, channels, 1, 1).

    Raises:
        ValueError: if a network of the user's yields another number of outputs.
    """
    raw = conditioner(inputs, context)
    expected = law.num_conditioned * num_coordinates
    if raw.shape[axis] != expected:
        raise ValueError(
            f"conditioner: expected {law.num_conditioned} * {num_coordinates} = {expected} "
            f"outputs, got {raw.shape[axis]}"
        )
    # One split, not a slice for each: the gradient of every slice would be as large as the whole.
    conditioned = lax.split(raw, (num_coordinates,) * law.num_conditioned, axis=raw.ndim + axis)
    return (*conditioned, *(() if free is None else free))


def free_parameters(law: Law, num_coordinates: int, free: Array | None) -> Array | None:
    """The law's free parameters (num_free, coordinates), zeros by default; None if it has none.

    Raises:
        ValueError: if ``free`` has another shape.
    """
    shape = (law.num_free, num_coordinates)
    if free is None:
        return jnp.zeros(shape) if law.num_free else None
    if jnp.shape(free)[-2:] != shape or not law.num_free:
        raise ValueError(f"free: expected shape {shape}, got {jnp.shape(free)}")
    return free
