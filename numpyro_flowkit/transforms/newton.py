r"""Newton's method for ``y + g h(y) = v`` where it cannot fail, with implicit derivatives.

h is odd, increasing, bounded by 1, of slope at most 1, and concave for y > 0, as tanh is; g > -1.
By symmetry let v > 0; then y > 0. With g > 0 the left side is concave there, and the root is above
``v / (1 + g)`` and above ``v - g``; with g < 0 it is convex, and the root is below both. From that
side Newton's steps go straight to the root without ever passing it, at last quadratically.
"""

from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer

from flowkit_core.numerics import STOP_ROUNDING_ERRORS
from flowkit_core.reports import InverseNotConverged
from numpyro_flowkit.transforms.kept_whole import kept_whole

Bend = Callable[[Array], tuple[Array, Array]]


def newton_root(bend: Bend, gain: Array, v: Array, max_iterations: int) -> Array:
    """The y with ``y + gain h(y) = v``; shapes broadcast; NaN where the steps do not suffice.

    Derivatives of every order and mode are those of the implicit function theorem:
    ``dy = (dv - h dg) / (1 + g h')``.

    Args:
        bend: y -> h(y), h'(y); hashable.
        gain: g > -1.
        v: the right side.
        max_iterations: steps that may be taken.
    """
    (y,) = _root((bend, max_iterations), *jnp.broadcast_arrays(gain, v))
    return y


def _find(static: tuple[Bend, int], gain: Array, v: Array) -> Sequence[Array]:
    bend, max_iterations = static
    size = jnp.abs(v)
    bounds = size - gain, size / (1 + gain)
    start = jnp.where(gain > 0, jnp.maximum(*bounds), jnp.minimum(*bounds))
    tolerance = STOP_ROUNDING_ERRORS * jnp.finfo(v.dtype).eps

    def unfinished(state: tuple[Array, Array, int]) -> Array:
        _, moving, iteration = state
        return (iteration < max_iterations) & jnp.any(moving)

    def improve(state: tuple[Array, Array, int]) -> tuple[Array, Array, int]:
        y, _, iteration = state
        h, slope = bend(y)
        residual = size - y - gain * h
        # Compared with what it is the difference of: no step makes it smaller than their rounding.
        moving = jnp.abs(residual) > tolerance * (size + y + jnp.abs(gain * h))
        return y + residual / (1 + gain * slope), moving, iteration + 1

    y, moving, _ = lax.while_loop(unfinished, improve, (start, start == start, 0))
    return (jnp.copysign(jnp.where(moving, jnp.nan, y), v),)


def _shapes(
    _: object, gain: jax.ShapeDtypeStruct, v: jax.ShapeDtypeStruct
) -> Sequence[jax.ShapeDtypeStruct]:
    return (v,)


def _implicit(
    static: tuple[Bend, int], values: Sequence[Array], tangents: Sequence[Array]
) -> tuple[Sequence[Array], Sequence[Array]]:
    (gain, _), (d_gain, d_v) = values, tangents
    found = _root(static, *values)
    h, slope = static[0](found[0])
    return found, ((d_v - h * d_gain) / (1 + gain * slope),)


_root = kept_whole("newton_root", _find, _shapes, _implicit)


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
