"""What the linear layers share: ``x = W z + shift``."""

from abc import abstractmethod
from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array, lax

from flowkit_core.specs.linear import LinearSpec
from numpyro_flowkit.transforms.base import Flow


class Linear(Flow):
    """``x = W z + shift`` with a W whose inverse and determinant are cheap.

    The diagonal is ``exp`` of a free parameter. It needs no soft bound: no network drives it, so
    it cannot explode on an input that training has not seen.

    Args:
        spec: the architecture as data.
        arrays: arrays under the names of ``spec.arrays()``.

    Raises:
        ValueError: if the names are not those of the spec.
    """

    static_names = ("spec",)

    spec: LinearSpec
    shift: Array
    context_dim = 0

    def __init__(self, spec: LinearSpec, arrays: Mapping[str, Array]) -> None:
        if set(arrays) != set(self.leaf_names):
            raise ValueError(
                f"arrays: expected the names {list(self.leaf_names)}, got {sorted(arrays)}"
            )
        self.spec = spec
        for name in self.leaf_names:
            setattr(self, name, arrays[name])

    def _weight(self, name: str) -> Array:
        """An array of the layer; a constant, as far as gradients go, if the layer is frozen."""
        weight: Array = getattr(self, name)
        return lax.stop_gradient(weight) if getattr(self.spec, "frozen", False) else weight

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return self.spec.input_dim

    def _offset(self) -> Array:
        """What is added to W z."""
        return self._weight("shift")

    @abstractmethod
    def _log_diagonal(self) -> Array:
        """Logarithms of the factors of |det W|."""

    @abstractmethod
    def _multiply(self, z: Array) -> Array:
        """Return W z for (..., D)."""

    @abstractmethod
    def _solve(self, x: Array) -> Array:
        """Return W^-1 x for (..., D)."""

    @abstractmethod
    def _solve_transposed(self, score: Array) -> Array:
        """Return W^-T u for (..., D)."""

    def matrix(self) -> Array:
        """W as a matrix (D, D)."""
        return self._multiply(jnp.eye(self.input_dim, dtype=self.shift.dtype)).T

    def inverse_matrix(self) -> Array:
        """W^-1 as a matrix (D, D)."""
        return self._solve(jnp.eye(self.input_dim, dtype=self.shift.dtype)).T

    def _log_det(self, values: Array) -> Array:
        return jnp.broadcast_to(self._log_diagonal().sum(), values.shape[:-1]).astype(values.dtype)

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        return self._multiply(z) + self._offset(), self._log_det(z)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        return self._solve(x - self._offset()), -self._log_det(x)

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        return self._solve_transposed(score)
