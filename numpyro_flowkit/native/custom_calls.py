"""Registration of the compiled functions with XLA, and how a custom call is mapped over a batch."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from flowkit_core.native.library import kernel, load

Arrays = tuple[Array, ...]
PointwiseCall = Callable[[Arrays, Arrays], Arrays]


class Targets(NamedTuple):
    """Names under which XLA knows the functions of a library."""

    sweep: str
    pullback: str
    tie: str


def targets(dtype: str) -> Targets | None:
    """The custom calls for a dtype, or None where there is no library."""
    headers = jax.ffi.include_dir()
    library = kernel(dtype, headers)
    return None if library is None else _registered(library._name, dtype, headers)


@lru_cache
def _registered(path: str, dtype: str, headers: str) -> Targets:
    library = load(dtype, headers)
    # The file's name tells one source from another: XLA keeps the first function of a name.
    build = Path(path).stem.removeprefix("sweep-")
    names = Targets(*(f"flowkit_{kind}_{build}" for kind in Targets._fields))
    for kind, name in names._asdict().items():
        capsule = jax.ffi.pycapsule(getattr(library, f"flowkit_xla_{kind}"))
        jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return names


def mapped_over_points(call: PointwiseCall) -> PointwiseCall:
    """``call(points, shared)``, with a rule for ``vmap``.

    Batches of points become more points of one call; batches of weights are taken in turn.

    Args:
        call: what maps arrays (..., B) of B points, and arrays that all points share, to arrays
            (..., B).
    """
    mapped = custom_vmap(call)

    @mapped.def_vmap
    def rule(
        size: int,
        batched: tuple[tuple[bool, ...], tuple[bool, ...]],
        points: Arrays,
        shared: Arrays,
    ) -> tuple[Arrays, tuple[bool, ...]]:
        in_points, in_shared = batched
        if any(in_shared):
            results = _in_turn(mapped, (*in_points, *in_shared), points, shared)
        else:
            results = _folded(mapped, size, in_points, points, shared)
        return results, (True,) * len(results)

    return mapped


def _in_turn(
    call: PointwiseCall, batched: tuple[bool, ...], points: Arrays, shared: Arrays
) -> Arrays:
    arrays = (*points, *shared)

    def one(taken: list[Array]) -> Arrays:
        rest = iter(taken)
        full = [next(rest) if own else array for array, own in zip(arrays, batched, strict=True)]
        return call(tuple(full[: len(points)]), tuple(full[len(points) :]))

    mapped: Arrays = lax.map(one, [a for a, own in zip(arrays, batched, strict=True) if own])
    return mapped


def _folded(
    call: PointwiseCall, size: int, batched: tuple[bool, ...], points: Arrays, shared: Arrays
) -> Arrays:
    def fold(array: Array, own: bool) -> Array:
        spread = array if own else jnp.broadcast_to(array, (size, *array.shape))
        spread = jnp.moveaxis(spread, 0, -2)
        return spread.reshape(*spread.shape[:-2], -1)

    count = points[0].shape[-1]
    results = call(tuple(map(fold, points, batched)), shared)
    return tuple(
        jnp.moveaxis(found.reshape(*found.shape[:-1], size, count), -2, 0) for found in results
    )
