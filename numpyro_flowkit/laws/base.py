"""What every law offers."""

from abc import ABC, abstractmethod

from jax import Array

Params = tuple[Array, ...]


class Law(ABC):
    """A strictly increasing map of one coordinate, applied element-wise.

    Laws hold no arrays: they are frozen dataclasses, hashable, so that ``jit`` may treat them as
    constants.

    Shapes: ``params`` holds ``num_conditioned`` arrays that a network yields, then ``num_free``
    arrays that the layer owns; each broadcasts against the input.
    """

    @property
    @abstractmethod
    def num_conditioned(self) -> int:
        """Parameters per coordinate that come from a conditioner."""

    @property
    @abstractmethod
    def num_free(self) -> int:
        """Parameters per coordinate that belong to the layer and depend on no input."""

    @abstractmethod
    def forward(self, z: Array, params: Params) -> tuple[Array, Array]:
        """Return ``x = tau(z)`` and ``log tau'(z)``."""

    @abstractmethod
    def inverse(self, x: Array, params: Params) -> tuple[Array, Array]:
        """Return ``z = tau^-1(x)`` and ``log (tau^-1)'(x)``."""
