"""Float64 where a number is wanted to 1e-6 nats, whatever JAX's x64 flag says."""

from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.experimental


def float64() -> AbstractContextManager[Any]:
    """A block in which JAX computes in float64; the flag is as before behind it."""
    if hasattr(jax, "enable_x64"):  # JAX 0.8
        return jax.enable_x64(True)
    block: AbstractContextManager[Any] = jax.experimental.enable_x64(True)  # type: ignore[attr-defined]
    return block


def is_traced(*values: Any) -> bool:
    """Whether any array in the values is being traced, by ``jit`` or ``grad`` say.

    In a trace the precision is the caller's.
    """
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))
