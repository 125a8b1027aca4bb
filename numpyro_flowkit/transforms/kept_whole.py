"""Functions with a derivative of their own that JAX keeps whole until it compiles them.

``jax.custom_jvp`` loses its rule where partial evaluation goes through it before the derivative is
taken, as in ``jax.hessian`` of a ``lax.scan``; what is inside is then differentiated step by step,
or cannot be, if it is a custom call. A primitive has no inside.
"""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from numpyro_flowkit.spread import abstract_result, alike

Arrays = Sequence[Array]
Flags = tuple[bool, ...]


def kept_whole(
    name: str,
    function: Callable[..., Arrays],
    shapes: Callable[..., Sequence[jax.ShapeDtypeStruct]],
    rule: Callable[[Any, Arrays, Arrays], tuple[Arrays, Arrays]],
) -> Callable[..., list[Array]]:
    """``function(static, *arrays)`` as a primitive.

    Under ``vmap`` it remembers which arguments are mapped; values and derivatives are then those
    of the mapped function.

    Args:
        name: of the primitive.
        function: static, arrays -> arrays; what is compiled in the end. Static must be hashable.
        shapes: static, shapes and dtypes of the arrays -> those of the results.
        rule: static, arrays, their tangents -> results and their tangents.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True

    def evaluate(*arrays: Array, static: Hashable, mapped: tuple[Flags, ...]) -> Arrays:
        return _vmapped(partial(function, static), mapped)(*arrays)

    def abstract(*arrays: Any, static: Hashable, mapped: tuple[Flags, ...]) -> list[ShapedArray]:
        sizes: list[int] = []
        inner = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]
        for flags in mapped:
            sizes.append(next(a.shape[0] for a, own in zip(inner, flags, strict=True) if own))
            inner = [
                jax.ShapeDtypeStruct(a.shape[1:], a.dtype) if own else a
                for a, own in zip(inner, flags, strict=True)
            ]
        return [
            abstract_result(arrays, (*sizes, *s.shape), s.dtype) for s in shapes(static, *inner)
        ]

    def jvp(
        primals: Arrays, tangents: Sequence[Any], *, static: Hashable, mapped: tuple[Flags, ...]
    ) -> tuple[Arrays, Arrays]:
        def both(*arrays: Array) -> tuple[Arrays, Arrays]:
            return rule(static, arrays[: len(primals)], arrays[len(primals) :])

        directions = [ad.instantiate_zeros(tangent) for tangent in tangents]
        twice = tuple((*flags, *flags) for flags in mapped)
        found: tuple[Arrays, Arrays] = _vmapped(both, twice)(*primals, *directions)
        return found

    def batch(
        arrays: Arrays, axes: Sequence[int | None], *, static: Hashable, mapped: tuple[Flags, ...]
    ) -> tuple[list[Array], list[int]]:
        moved = [
            a if axis is None else jnp.moveaxis(a, axis, 0)
            for a, axis in zip(arrays, axes, strict=True)
        ]
        flags = tuple(axis is not None for axis in axes)
        found = primitive.bind(*moved, static=static, mapped=(flags, *mapped))
        return found, [0] * len(found)

    primitive.def_abstract_eval(abstract)
    primitive.def_impl(
        lambda *arrays, **params: jax.jit(partial(primitive.bind, **params))(*arrays)
    )
    ad.primitive_jvps[primitive] = jvp
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(evaluate, multiple_results=True))

    def call(static: Hashable, *arrays: Array) -> list[Array]:
        found: list[Array] = primitive.bind(*alike(arrays), static=static, mapped=())
        return found

    return call


def _vmapped(function: Callable[..., Any], mapped: tuple[Flags, ...]) -> Callable[..., Any]:
    """``vmap`` for every row of flags, the first the outermost."""
    for flags in reversed(mapped):
        function = jax.vmap(function, in_axes=tuple(0 if own else None for own in flags))
    return function
