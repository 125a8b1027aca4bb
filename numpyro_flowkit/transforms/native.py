"""What NumPyro demands of a transform, derived from value and log-determinant in one call."""

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any, ClassVar

from jax import Array
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from numpyro_flowkit.transforms.equality import same

Shape = tuple[int, ...]
Flattened = tuple[tuple[Any, ...], tuple[tuple[str, ...], dict[str, Any]]]


@lru_cache(maxsize=8)
def real_space(rank: int) -> constraints.Constraint:
    """Real arrays of that many axes, as events."""
    if rank == 1:
        return constraints.real_vector
    return constraints.independent(constraints.real, rank)


class NativeTransform(Transform, ABC):
    """A NumPyro transform of real vectors or images that keeps nothing between calls.

    Subclasses give ``event_shape``, (D,) or (channels, height, width), and name all of their state:
    ``leaf_names`` the attributes that hold arrays or other pytrees, ``static_names`` those that
    hold hashable constants.
    """

    leaf_names: ClassVar[tuple[str, ...]] = ()
    static_names: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def event_shape(self) -> Shape:
        """Shape of one point."""

    @property
    def domain(self) -> constraints.Constraint:
        """Real vectors, or real images."""
        return real_space(len(self.event_shape))

    @property
    def codomain(self) -> constraints.Constraint:
        """The same as the domain."""
        return real_space(len(self.event_shape))

    @abstractmethod
    def forward_and_log_det(self, z: Array) -> tuple[Array, Array]:
        """Map base to data: x and ``log |det dx/dz|``."""

    @abstractmethod
    def inverse_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Map data to base: z and ``log |det dz/dx|``."""

    @property
    @abstractmethod
    def sequential_forward(self) -> bool:
        """Whether ``flow(z)`` goes coordinate by coordinate; the other direction is one pass."""

    def __call__(self, x: Array) -> Array:
        """Map base to data."""
        return self.forward_and_log_det(x)[0]

    def _inverse(self, y: Array) -> Array:
        return self.inverse_and_log_det(y)[0]

    def call_with_intermediates(self, x: Array) -> tuple[Array, Array]:
        """Map base to data and keep the log-determinant, so that scoring the result is free."""
        return self.forward_and_log_det(x)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Array | None = None) -> Array:
        """``log |det dy/dx|``, by the cheaper direction unless it is already known."""
        if intermediates is not None:
            return intermediates
        if self.sequential_forward:
            return -self.inverse_and_log_det(y)[1]
        return self.forward_and_log_det(x)[1]

    def tree_flatten(self) -> Flattened:
        """Leaves by ``leaf_names``; everything else is static."""
        leaves = tuple(getattr(self, name) for name in self.leaf_names)
        return leaves, (self.leaf_names, {name: getattr(self, name) for name in self.static_names})

    def eq(self, other: object, static: bool = False) -> Any:
        """Whether the other transform has the same structure and leaves; see `equality.same`."""
        return same(self, other, static=static)
