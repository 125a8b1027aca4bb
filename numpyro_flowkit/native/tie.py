"""Hold XLA to an order: what was put off is computed first.

XLA is free to put off the gradients of weights until the end of a backward pass, and then keeps
what they need of all layers. ``lax.optimization_barrier`` does not stop it on CPUs: the barrier is
gone before the order is settled. A custom call stays.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from numpyro_flowkit.spread import abstract_result, alike, result_type

_tie = Primitive("flowkit_tie")
_tie.multiple_results = True


def tie(arrays: Sequence[Array], target: str) -> list[Array]:
    """The arrays as they are; whatever needs one of them, or of their cotangents, needs all.

    Args:
        arrays: of one dtype.
        target: name of the custom call.
    """
    tied: list[Array] = _tie.bind(*alike(arrays), target=target)
    return tied


def _evaluate(*arrays: Array, target: str) -> Sequence[Array]:
    shapes = [result_type(array, array.shape) for array in arrays]
    aliases = {i: i for i in range(len(arrays))}
    tied: Sequence[Array] = jax.ffi.ffi_call(target, shapes, input_output_aliases=aliases)(*arrays)
    return tied


def _jvp(
    primals: Sequence[Array], tangents: Sequence[Any], *, target: str
) -> tuple[list[Array], list[Array]]:
    directions = [ad.instantiate_zeros(tangent) for tangent in tangents]
    return tie(primals, target), tie(directions, target)


def _transpose(cotangents: Sequence[Any], *arrays: Any, target: str) -> list[Array | None]:
    tied = tie([ad.instantiate_zeros(cotangent) for cotangent in cotangents], target)
    return [
        cotangent if ad.is_undefined_primal(array) else None
        for cotangent, array in zip(tied, arrays, strict=True)
    ]


def _batch(
    arrays: Sequence[Array], axes: Sequence[int | None], *, target: str
) -> tuple[list[Array], Sequence[int | None]]:
    return tie(arrays, target), axes


_tie.def_abstract_eval(lambda *a, target: [abstract_result(a, x.shape, x.dtype) for x in a])
_tie.def_impl(
    lambda *arrays, target: jax.jit(_evaluate, static_argnames="target")(*arrays, target=target)
)
ad.primitive_jvps[_tie] = _jvp
ad.primitive_transposes[_tie] = _transpose
batching.primitive_batchers[_tie] = _batch
mlir.register_lowering(_tie, mlir.lower_fun(_evaluate, multiple_results=True))
