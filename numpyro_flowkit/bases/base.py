"""What all learnt bases have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from flowkit_core.bases import BaseSpec


class Base(ABC):
    """A pytree of arrays whose call gives a distribution of vectors (D,) with them in it."""

    @property
    @abstractmethod
    def input_dim(self) -> int:
        """Number of coordinates D."""

    @abstractmethod
    def __call__(self) -> dist.Distribution:
        """The distribution as it is now."""


@dataclass(frozen=True)
class BaseInit:
    """What `student_t_base` and `mixture_base` return: a base when called with a key.

    So ``numpyro.param("base", mixture_base(8))`` registers the base's arrays under that name. The
    arrays start at fixed values; the key is there because that is how NumPyro calls initialisers.

    Args:
        kind: class of the base.
        spec: which arrays there are, and where they start.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import student_t_base
        >>> base = student_t_base(3)(jax.random.key(0))
        >>> base().event_shape
        (3,)
    """

    kind: Callable[..., Base]
    spec: BaseSpec

    @property
    def input_dim(self) -> int:
        """Number of coordinates D."""
        return self.spec.input_dim

    def __call__(self, rng_key: Array) -> Base:
        """The base at its start, in JAX's default float."""
        dtype = jnp.zeros(()).dtype
        return self.kind(**{k: jnp.asarray(v, dtype) for k, v in self.spec.arrays().items()})

    def __repr__(self) -> str:
        return f"BaseInit({self.spec})"
