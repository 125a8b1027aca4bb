r"""Newton's method for ``y + g tanh(y) = v`` where it cannot fail, with implicit derivatives.

By symmetry let v > 0; then y > 0, where tanh is concave and below 1, of slope at most 1; g > -1.
With g > 0 the left side is concave there, and the root is above ``v / (1 + g)`` and above
``v - g``; with g < 0 it is convex, and the root is below both. From that side Newton's steps go
straight to the root without ever passing it, at last quadratically.
"""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer

from flowkit_core.numerics import STOP_ROUNDING_ERRORS
from flowkit_core.reports import InverseNotConverged
from numpyro_flowkit.transforms.kept_whole import kept_whole


def tanh_and_slope(y: Array) -> tuple[Array, Array]:
    """The hyperbolic tangent and its derivative."""
    h = jnp.tanh(y)
    return h, 1 - h * h


def tanh_root(gain: Array, v: Array, max_iterations: int) -> Array:
    """The y with ``y + gain tanh(y) = v``; shapes broadcast; NaN where the steps do not suffice.

    Derivatives of every order and mode are those of the implicit function theorem:
    ``dy = (dv - tanh(y) dg) / (1 + g tanh'(y))``.

    Args:
        gain: g > -1.
        v: the right side.
        max_iterations: steps that may be taken.

    Example:
        >>> y = tanh_root(jnp.array(2.0), jnp.array([0.0, 3.0]), 50)
        >>> [round(v, 4) for v in (y + 2 * jnp.tanh(y)).tolist()]
        [0.0, 3.0]
    """
    (y,) = _root(max_iterations, *jnp.broadcast_arrays(gain, v))
    return y


def _find(max_iterations: int, gain: Array, v: Array) -> Sequence[Array]:
    size = jnp.abs(v)
    bounds = size - gain, size / (1 + gain)
    start = jnp.where(gain > 0, jnp.maximum(*bounds), jnp.minimum(*bounds))
    tolerance = STOP_ROUNDING_ERRORS * jnp.finfo(v.dtype).eps

    def unfinished(state: tuple[Array, Array, int]) -> Array:
        _, moving, iteration = state
        return (iteration < max_iterations) & jnp.any(moving)

    def improve(state: tuple[Array, Array, int]) -> tuple[Array, Array, int]:
        y, _, iteration = state
        h, slope = tanh_and_slope(y)
        residual = size - y - gain * h
        # Compared with what it is the difference of: no step makes it smaller than their rounding.
        moving = jnp.abs(residual) > tolerance * (size + y + jnp.abs(gain * h))
        return y + residual / (1 + gain * slope), moving, iteration + 1

    y, moving, _ = lax.while_loop(unfinished, improve, (start, start == start, 0))
    return (jnp.copysign(jnp.where(moving, jnp.nan, y), v),)


def _implicit(
    max_iterations: int, values: Sequence[Array], tangents: Sequence[Array]
) -> tuple[Sequence[Array], Sequence[Array]]:
    (gain, _), (d_gain, d_v) = values, tangents
    found = _root(max_iterations, *values)
    h, slope = tanh_and_slope(found[0])
    return found, ((d_v - h * d_gain) / (1 + gain * slope),)


_root = kept_whole("tanh_root", _find, lambda _, gain, v: (v,), _implicit)


def raise_unless_found(x: Array, z: Array, others: Iterable[Array]) -> None:
    """Raise if finite numbers have given an inverse that is NaN; under ``jit`` nothing can be said.

    Args:
        x: what was inverted, (..., D).
        z: the inverse, (..., D).
        others: everything else that it depends on.

    Raises:
        InverseNotConverged: for concrete arrays alone.
    """
    if isinstance(x, Tracer) or isinstance(z, Tracer):
        return
    lost = int((jnp.isnan(z).any(-1) & jnp.isfinite(x).all(-1)).sum())
    if lost and all(bool(jnp.isfinite(array).all()) for array in others):
        raise InverseNotConverged.of(lost, z[..., 0].size)
