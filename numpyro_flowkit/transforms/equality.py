"""Equality of transforms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def same(first: Any, second: Any, *, static: bool) -> Any:
    """Whether two transforms have the same type, static parts and leaves.

    Args:
        first: a transform that is a pytree.
        second: anything.
        static: with True the answer is a plain bool, found without touching tracers: a traced leaf
            equals only itself. With False leaves may be traced and the answer is an array.
    """
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    leaves, others = jax.tree.leaves(first), jax.tree.leaves(second)
    structure: Any = jax.tree.structure(first)
    if structure != jax.tree.structure(second):
        return False
    pairs = list(zip(leaves, others, strict=True))
    if any(jnp.shape(a) != jnp.shape(b) for a, b in pairs):
        return False
    if static:
        return all(a is b or _same_on_host(a, b) for a, b in pairs)
    equal = [jnp.all(jnp.equal(a, b)) for a, b in pairs]
    return jnp.all(jnp.stack(equal)) if equal else jnp.array(True)


def _same_on_host(first: Any, second: Any) -> bool:
    if isinstance(first, jax.core.Tracer) or isinstance(second, jax.core.Tracer):
        return False
    return bool(np.array_equal(np.asarray(first), np.asarray(second)))
