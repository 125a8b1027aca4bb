"""What every law offers."""

from abc import ABC, abstractmethod

from torch import Tensor

Params = tuple[Tensor, ...]


class Law(ABC):
    """A strictly increasing map of one coordinate, applied element-wise.

    Shapes: ``params`` holds ``num_conditioned`` tensors that a network yields, then ``num_free``
    tensors that the layer owns; each broadcasts against the input.
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
    def forward(self, z: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``x = tau(z)`` and ``log tau'(z)``."""

    @abstractmethod
    def inverse(self, x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        """Return ``z = tau^-1(x)`` and ``log (tau^-1)'(x)``."""
