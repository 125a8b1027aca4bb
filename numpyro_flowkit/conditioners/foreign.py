"""A user's own network as a conditioner: whatever it is, its arrays become the layer's leaves."""

import functools
from enum import Enum
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial, PyTreeDef


def as_conditioner(conditioner: Any, *, name: str = "conditioner") -> Any:
    """A callable pytree of arrays that computes what ``conditioner`` does.

    A pytree of arrays passes as it is. A ``functools.partial``, as `numpyro.contrib.module`'s
    ``flax_module`` and ``nnx_module`` return it, becomes a `jax.tree_util.Partial`, so that the
    arguments it holds are leaves. In a network with function leaves, as an Equinox module holds
    its activation, these become static.

    Args:
        conditioner: maps ``(inputs, context)`` to raw parameters.
        name: what errors call it.

    Raises:
        TypeError: if it cannot be called, or is a plain function, whose weights nobody would see.

    Example:
        >>> import jax.numpy as jnp
        >>> def net(weight, inputs, context=None):
        ...     return inputs @ weight
        >>> conditioner = as_conditioner(functools.partial(net, jnp.ones((2, 3))))
        >>> [leaf.shape for leaf in jax.tree.leaves(conditioner)]
        [(2, 3)]
    """
    if not callable(conditioner):
        raise TypeError(f"{name}: expected a callable, got {type(conditioner).__name__}")
    if isinstance(conditioner, functools.partial) and not isinstance(conditioner, Partial):
        conditioner = Partial(conditioner.func, *conditioner.args, **conditioner.keywords)
    leaves, structure = jax.tree.flatten(conditioner)
    if len(leaves) == 1 and leaves[0] is conditioner:
        raise TypeError(
            f"{name}: expected a pytree of arrays, got a plain function, whose weights no "
            "transformation of JAX would see; wrap it in jax.tree_util.Partial(function, weights)"
        )
    if not any(callable(leaf) for leaf in leaves):
        return conditioner
    is_array = [isinstance(leaf, Array | np.ndarray | float) for leaf in leaves]
    arrays = [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]
    rest = [_Hole.ARRAY if array else leaf for leaf, array in zip(leaves, is_array, strict=True)]
    return Partial(_Rebuilt(jax.tree.unflatten(structure, rest)), arrays)


class _Hole(Enum):
    """Stands where an array was; one of its kind, also after copying and pickling."""

    ARRAY = "array"


class _Rebuilt:
    """A network without its arrays: puts the two together and calls it.

    Holds a network rather than the structure of one, which other packages' networks need not
    survive the pickling of.
    """

    def __init__(self, template: Any) -> None:
        self.template = template

    def _flat(self) -> tuple[list[Any], PyTreeDef]:
        return jax.tree.flatten(self.template)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Rebuilt) and self._flat() == other._flat()

    def __hash__(self) -> int:
        leaves, structure = self._flat()
        return hash((tuple(leaves), structure))

    def __call__(self, arrays: list[Array], inputs: Array, context: Array | None = None) -> Array:
        leaves, structure = self._flat()
        given = iter(arrays)
        filled = [next(given) if leaf is _Hole.ARRAY else leaf for leaf in leaves]
        outputs: Array = jax.tree.unflatten(structure, filled)(inputs, context)
        return outputs
