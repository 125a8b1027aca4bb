"""The face that torch and Pyro see, derived from two fused functions."""

from abc import abstractmethod
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyro_flowkit.transforms.cache import CacheEntry


@lru_cache(maxsize=8)
def real_space(rank: int) -> constraints.Constraint:
    """Real arrays of that many axes, as events."""
    if rank == 1:
        return constraints.real_vector
    return constraints.independent(constraints.real, rank)


class NativeTransform(Transform):
    """A `torch.distributions.Transform` of real arrays on top of value-and-log-det functions.

    Subclasses implement ``forward_and_log_det(z)`` and ``inverse_and_log_det(x)`` as pure
    functions, give ``event_shape``, (D,) or (channels, height, width), and say which tensors they
    depend on.
    """

    event_shape: tuple[int, ...]
    domain: constraints.Constraint = constraints.real_vector
    codomain: constraints.Constraint = constraints.real_vector
    bijective = True
    # torch.jit.trace_module calls hasattr() on every property, and upstream's raises.
    sign = 1

    _entry: CacheEntry | None = None

    @abstractmethod
    def forward_and_log_det(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x = T(z)`` and ``log |det dx/dz|``."""

    @abstractmethod
    def inverse_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``z = T^-1(x)`` and ``log |det dz/dx|``."""

    @abstractmethod
    def dependencies(self) -> tuple[Tensor, ...]:
        """Every tensor, besides the argument, that the result depends on."""

    @property
    @abstractmethod
    def sequential_forward(self) -> bool:
        """Whether ``T(z)`` goes coordinate by coordinate."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``T(x)``."""
        entry = self._current_entry()
        if entry is not None and entry.produced == "x" and entry.x is x:
            return entry.y
        y, log_det = self.forward_and_log_det(x)
        self._remember(x, y, log_det, produced="y")
        return y

    def cached_inverse_and_log_det(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """`inverse_and_log_det`, free of charge for the sample that this transform just drew."""
        entry = self._current_entry()
        if entry is not None and entry.produced == "y" and entry.y is y:
            return entry.x, -entry.log_det
        x, log_det = self.inverse_and_log_det(y)
        self._remember(x, y, -log_det, produced="x")
        return x, log_det

    def _inv_call(self, y: Tensor) -> Tensor:
        return self.cached_inverse_and_log_det(y)[0]

    def _call(self, x: Tensor) -> Tensor:
        return self.forward_and_log_det(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.inverse_and_log_det(y)[0]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``log |det dy/dx|``, evaluated in the direction that is one pass."""
        entry = self._current_entry()
        if entry is not None and entry.x is x and entry.y is y:
            return entry.log_det
        if self.sequential_forward:
            return -self.inverse_and_log_det(y)[1]
        return self.forward_and_log_det(x)[1]

    def with_cache(self, cache_size: int = 1) -> "NativeTransform":
        """Return this very object: whatever the size asked for, the cache is safe to keep."""
        return self

    def clear_cache(self) -> None:
        """Forget the last pair. Needed only after a write through ``parameter.data``."""
        self._entry = None

    def _current_entry(self) -> CacheEntry | None:
        entry = self._entry
        if entry is None or torch.compiler.is_compiling():
            return None
        return entry if entry.is_current(self.dependencies()) else None

    def _remember(self, x: Tensor, y: Tensor, log_det: Tensor, produced: Any) -> None:
        if not torch.compiler.is_compiling():
            self._entry = CacheEntry.of(x, y, log_det, produced, self.dependencies())

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_inv"] = None
        state.pop("_entry", None)
        return state
