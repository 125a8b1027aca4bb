"""Arrays that are spread over devices: their meshes, and the axes of ``jax.shard_map``.

Three ways lead there, and two of them show in the types of arrays. *Automatic* axes of a mesh are
the compiler's business. *Explicit* axes are part of an array's type, and every operation has to say
where its result lies: for a flow that is one rule, given in `in_pieces`, and the compiler settles
the rest. Inside ``shard_map`` the type tells along which axes the devices hold different values;
what a loop carries has to have that type before its first iteration.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax.core import ShapedArray
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, auto_axes

Axes = frozenset[str]


def is_spread(leaf: Any) -> bool:
    """Whether it is an array on several devices, and not one that is being traced."""
    is_array = isinstance(leaf, Array) and not isinstance(leaf, jax.core.Tracer)
    return is_array and len(leaf.sharding.device_set) > 1


def automatic_sharding(sharding: NamedSharding) -> NamedSharding:
    """The same places, as the compiler's business."""
    mesh: Any = sharding.mesh
    axes = (AxisType.Auto,) * len(mesh.axis_names)
    return NamedSharding(Mesh(mesh.devices, mesh.axis_names, axis_types=axes), sharding.spec)


def automatic(tree: Any) -> Any:
    """The same tree, explicit shardings of arrays made automatic: the compiler's business.

    With explicit ones every operation of a model and of its derivatives would have to say where
    its result lies.
    """

    def one(leaf: Any) -> Any:
        if not is_spread(leaf) or not isinstance(leaf.sharding, NamedSharding):
            return leaf
        return jax.device_put(leaf, automatic_sharding(leaf.sharding))

    return jax.tree.map(one, tree)


def row_mesh(tree: Any) -> Mesh | None:
    """A mesh of one axis, "rows", of the devices that arrays of a tree are spread over; or None."""
    for leaf in filter(is_spread, jax.tree.leaves(tree)):
        where = leaf.sharding
        devices = (
            where.mesh.devices.reshape(-1)
            if isinstance(where, NamedSharding)
            else np.array(sorted(where.device_set, key=lambda device: device.id))
        )
        return Mesh(devices, ("rows",), axis_types=(AxisType.Auto,))
    return None


def varying_axes(*arrays: Any) -> Axes:
    """Axes of ``shard_map`` along which some of the arrays, or types, differ between devices."""
    return frozenset().union(*map(_axes_of, arrays))


def _axes_of(array: Any) -> Axes:
    kind: Any = array if isinstance(array, ShapedArray) else jax.typeof(array)
    # JAX 0.10 moved them there.
    return frozenset(kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying)


def vary(array: Array, axes: Axes) -> Array:
    """The array, as one that may differ between devices along these axes."""
    missing = tuple(axes - varying_axes(array))
    if not missing:
        return array
    of_jax: Any = lax
    if hasattr(lax, "pcast"):
        varied: Array = of_jax.pcast(array, missing, to="varying")
    else:  # what it was called before
        varied = of_jax.pvary(array, missing)
    return varied


def alike(arrays: Iterable[Array]) -> list[Array]:
    """The arrays, all of them varying along the axes that any of them varies along."""
    given = list(arrays)
    axes = varying_axes(*given)
    return [vary(array, axes) for array in given]


def result_type(like: Array, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    """Shape and dtype of what a custom call makes of arrays that vary as this one does."""
    kind: Any = jax.typeof(like)
    mesh = kind.sharding.mesh
    if mesh.empty:
        return jax.ShapeDtypeStruct(shape, like.dtype)
    name = "vma" if hasattr(kind, "vma") else "manual_axis_type"
    return jax.ShapeDtypeStruct(
        shape, like.dtype, sharding=_whole(mesh, len(shape)), **{name: getattr(kind, name)}
    )


def abstract_result(
    arrays: Iterable[ShapedArray], shape: tuple[int, ...], dtype: Any
) -> ShapedArray:
    """Type of a primitive's result, of arguments that are `alike` and not explicitly sharded."""
    given: list[Any] = list(arrays)
    mesh = next((a.sharding.mesh for a in given if not a.sharding.mesh.empty), None)
    where = _whole(mesh or given[0].sharding.mesh, len(shape))
    made: ShapedArray = given[0].update(shape=shape, dtype=dtype, weak_type=False, sharding=where)
    return made


def _whole(mesh: Any, rank: int) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*(None,) * rank))


def in_pieces(
    function: Callable[..., Any],
    batch: Sequence[tuple[Array, int]],
    other: Sequence[Any],
    ranks: Sequence[int],
) -> Callable[..., Any]:
    """The function, with results that lie where the rows of the batch do.

    Where no array is explicitly sharded, that is the function itself.

    Args:
        function: of these arrays, in whatever pytrees.
        batch: arrays, each with how many dimensions it has beyond the batch's, the most significant
            first. The batch dimensions of the first are those of the results; those of the others
            broadcast against them.
        other: the other arrays.
        ranks: of each result, how many dimensions it has beyond the batch's.
    """
    arrays = (*(array for array, _ in batch), *other)
    spread = [s for s in map(_explicit, arrays) if s is not None]
    if not spread:
        return function
    first, rank = batch[0]
    rows: list[Any] = [None] * (first.ndim - rank)  # of the batch, the last dimension first
    for array, rank in batch:
        sharding = _explicit(array)
        if sharding is None:
            continue
        entries = (*sharding.spec, *(None,) * (array.ndim - len(sharding.spec)))
        for i, entry in enumerate(reversed(entries[: array.ndim - rank])):
            used = {name for row in rows for name in _names(row)}
            if rows[i] is None and used.isdisjoint(_names(entry)):
                rows[i] = entry
    where = tuple(
        NamedSharding(spread[0].mesh, PartitionSpec(*reversed(rows), *(None,) * rank))
        for rank in ranks
    )
    automatic: Callable[..., Any] = auto_axes(function, out_sharding=where)
    return automatic


def _explicit(array: Array) -> Any:
    sharding: Any = jax.typeof(array).sharding
    is_spread = AxisType.Explicit in sharding.mesh.axis_types
    return sharding if is_spread and any(entry is not None for entry in sharding.spec) else None


def _names(entry: Any) -> tuple[str, ...]:
    if entry is None:
        return ()
    return tuple(entry) if isinstance(entry, tuple) else (entry,)
