"""From what a user says about a base to the base."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from flowkit_core.bases import check_base
from numpyro_flowkit.bases.base import Base, BaseInit
from numpyro_flowkit.bases.mixture import mixture_base
from numpyro_flowkit.bases.student_t import student_t_base

# A name, or a callable from the number of coordinates to what a base's recipe returns: a function
# from a key to a pytree whose call gives a distribution.
BaseChoice = str | Callable[[int], Callable[[Array], Any]]

_NAMED: dict[str, BaseChoice] = {"student_t": student_t_base, "mixture": mixture_base}


def checked_choice(base: BaseChoice) -> BaseChoice:
    """Return ``base`` if it is a name or a callable, and not a base already.

    Raises:
        ValueError: for another name.
        TypeError: for anything else.

    Example:
        >>> checked_choice("student_t")
        'student_t'
    """
    check_base(base)
    if isinstance(base, Base | BaseInit):
        raise TypeError(
            "base: expected a name or a callable from the number of latents to a base, e.g. "
            f"mixture_base itself, got a {type(base).__name__}"
        )
    return base


def make_base(base: BaseChoice, dim: int, like: Array, rng_key: Array) -> Any:
    """The base of ``dim`` coordinates, in the dtype of ``like``.

    Returns:
        A pytree, or None for the standard Normal, which has nothing to learn.

    Raises:
        TypeError: if a callable leads to no base, or its call gives no distribution.
        ValueError: if that is no distribution of ``dim`` coordinates with reparametrised draws.
    """
    if isinstance(base, str):
        if base == "normal":
            return None
        return make_base(_NAMED[base], dim, like, rng_key)
    init = base(dim)
    if not callable(init) or isinstance(init, Base):
        raise TypeError(
            "base: expected it to return what mixture_base returns, a function from a key to a "
            f"base, got {type(init).__name__}"
        )
    made = init(rng_key)
    if not callable(made):
        raise TypeError(
            f"base: expected a pytree whose call gives a distribution, got {type(made).__name__}"
        )
    made = jax.tree.map(lambda leaf: _in_dtype(leaf, like), made)
    _check_distribution(made(), dim)
    return made


def _in_dtype(leaf: Any, like: Array) -> Any:
    # Counts and keys of a user's own base stay what they are.
    is_real = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    return jnp.asarray(leaf, like.dtype) if is_real else leaf


def _check_distribution(given: object, dim: int) -> None:
    if not isinstance(given, dist.Distribution):
        raise TypeError(
            f"base: expected its call to give a distribution, got {type(given).__name__}"
        )
    if given.event_shape != (dim,) or given.batch_shape:
        raise ValueError(
            f"base: expected event shape ({dim},) and no batch, got event shape "
            f"{given.event_shape}, batch shape {given.batch_shape}"
        )
    if not given.has_rsample:
        raise ValueError(
            f"base: expected a distribution with reparametrised draws, got {type(given).__name__}"
        )
