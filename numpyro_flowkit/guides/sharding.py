"""Data and particles that are spread over devices.

The compiler (XLA) does the work: it is told where arrays lie, and keeps the meaning of a program
whatever it makes of it. So a fit's result does not depend on the number of devices, but for
rounding: sums over rows and particles are taken in another order.
"""

import math
from typing import Any

import jax
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec
from jax.tree_util import PyTreeDef

from numpyro_flowkit.spread import automatic_sharding, is_spread


class SpreadArguments:
    """A model's arguments, with the arrays that lie on several devices taken out.

    Those have to be arguments of a compiled program: one that closes over them holds a whole copy
    for each device. All others stay what they are, so that a model may look at their values.

    Args:
        args: the model's arguments.
        kwargs: its keyword arguments.

    Attributes:
        arrays: those on several devices.
    """

    arrays: list[Array]

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._leaves: list[Any]
        self._structure: PyTreeDef
        self._leaves, self._structure = jax.tree.flatten((args, kwargs))
        self._places = [i for i, leaf in enumerate(self._leaves) if is_spread(leaf)]
        self.arrays = [self._leaves[i] for i in self._places]

    def filled(self, arrays: list[Array]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments and keyword arguments with other arrays in their places."""
        leaves = list(self._leaves)
        for i, array in zip(self._places, arrays, strict=True):
            leaves[i] = array
        args, kwargs = jax.tree.unflatten(self._structure, leaves)
        return args, kwargs


def checked_particles(
    sharding: NamedSharding | None, num_particles: int, chunk_size: int | None
) -> NamedSharding | None:
    """The sharding of particles, if they can be cut into as many equal pieces.

    Raises:
        TypeError: for another kind of sharding.
        ValueError: if it is not one of a single dimension, or does not divide what is evaluated at
            once.
    """
    if sharding is None:
        return None
    if not isinstance(sharding, NamedSharding):
        raise TypeError(
            "particle_sharding: expected a jax.sharding.NamedSharding, got "
            f"{type(sharding).__name__}"
        )
    if len(sharding.spec) > 1:
        raise ValueError(
            "particle_sharding: expected the spec of one dimension, that of the particles, got "
            f"{sharding.spec}"
        )
    pieces = _pieces(sharding)
    chunk = num_particles if chunk_size is None else min(chunk_size, num_particles)
    for name, count in (("num_particles", num_particles), ("chunk_size", chunk)):
        if count % pieces:
            raise ValueError(
                f"{name}: expected a multiple of {pieces}, into which particle_sharding cuts the "
                f"particles, got {count}"
            )
    return automatic_sharding(sharding)


def spread_rows(tree: Any, sharding: NamedSharding | None, count: int) -> Any:
    """The tree, with its arrays of ``count`` rows spread as the sharding says."""
    if sharding is None or count % _pieces(sharding):
        return tree

    def one(array: Array) -> Array:
        is_of_rows = array.ndim > 0 and array.shape[0] == count
        return jax.lax.with_sharding_constraint(array, sharding) if is_of_rows else array

    return jax.tree.map(one, tree)


def everywhere(sharding: NamedSharding | None, arrays: list[Array]) -> NamedSharding | None:
    """A whole copy on each device of the particles' mesh, or of the arrays'; None without one."""
    found = [array.sharding for array in arrays]
    known = [s for s in (sharding, *found) if isinstance(s, NamedSharding)]
    return NamedSharding(known[0].mesh, PartitionSpec()) if known else None


def _pieces(sharding: NamedSharding) -> int:
    names = sharding.spec[0] if len(sharding.spec) else None
    names = names if isinstance(names, tuple) else () if names is None else (names,)
    return math.prod(sharding.mesh.shape[name] for name in names)
