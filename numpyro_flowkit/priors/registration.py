"""How a prior registers its parameters with NumPyro."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from numpyro.distributions import constraints


def checked_name(name: object) -> str:
    """Return ``name`` if parameters can be registered under it.

    Example:
        >>> checked_name("prior")
        'prior'
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected a name for the prior's parameters, got {name!r}")
    if not name:
        raise ValueError("name: expected a name that is not empty, got ''")
    return name


def registered(name: str, start: Array, constraint: constraints.Constraint | None = None) -> Array:
    """The parameter ``name`` as it is now; it starts as ``start``.

    Args:
        name: of the parameter.
        start: value at the start.
        constraint: where the parameter lives; anywhere if None.

    Raises:
        ValueError: if another shape was put in under that name.

    Example:
        >>> registered("weights", jnp.zeros(2)).tolist()
        [0.0, 0.0]
    """
    where = constraints.real if constraint is None else constraint
    value: Any = numpyro.param(name, start, constraint=where)
    if jnp.shape(value) != start.shape:
        raise ValueError(
            f"The parameter {name!r} is that of another prior: expected shape {start.shape}, got "
            f"{jnp.shape(value)}"
        )
    registered: Array = value
    return registered


def concrete(value: Any) -> np.ndarray[Any, Any] | None:
    """Numbers of an array that can be looked at; None while JAX traces them."""
    return None if isinstance(value, jax.core.Tracer) else np.asarray(value)
