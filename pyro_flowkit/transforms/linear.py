"""What the linear layers share: ``x = W z + shift``."""

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from flowkit_core.specs.linear import LinearSpec
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.matrices import identity_like


class Linear(Flow):
    """``x = W z + shift`` with a W whose inverse and determinant are cheap.

    The diagonal is ``exp`` of a free parameter. It needs no soft bound: no network drives it, so
    it cannot explode on an input that training has not seen.

    Args:
        spec: the architecture as data.
        arrays: tensors under the names of ``spec.arrays()``.

    Raises:
        ValueError: if the names are not those of the spec.
    """

    spec: LinearSpec
    shift: Tensor

    def __init__(self, spec: LinearSpec, arrays: Mapping[str, Tensor]) -> None:
        super().__init__(spec.input_dim, spec=spec)
        names = [array.name for array in spec.arrays()]
        if set(names) != set(arrays):
            raise ValueError(f"arrays: expected the names {names}, got {sorted(arrays)}")
        for name in names:
            self.register_parameter(name, nn.Parameter(arrays[name].detach().clone()))

    def _weight(self, name: str) -> Tensor:
        """An array of the layer; a constant, as far as gradients go, if the layer is frozen."""
        weight: Tensor = getattr(self, name)
        return weight.detach() if getattr(self.spec, "frozen", False) else weight

    def _offset(self) -> Tensor:
        """What is added to W z."""
        return self._weight("shift")

    @abstractmethod
    def _log_diagonal(self) -> Tensor:
        """Logarithms of the factors of |det W|."""

    @abstractmethod
    def _multiply(self, z: Tensor) -> Tensor:
        """Return W z for (..., D)."""

    @abstractmethod
    def _solve(self, x: Tensor) -> Tensor:
        """Return W^-1 x for (..., D)."""

    @abstractmethod
    def _solve_transposed(self, score: Tensor) -> Tensor:
        """Return W^-T u for (..., D)."""

    def matrix(self) -> Tensor:
        """W as a matrix (D, D)."""
        return self._multiply(identity_like(self.shift)).T

    def inverse_matrix(self) -> Tensor:
        """W^-1 as a matrix (D, D)."""
        return self._solve(identity_like(self.shift)).T

    def _log_det(self, values: Tensor) -> Tensor:
        return self._log_diagonal().sum().expand(values.shape[:-1])

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._multiply(z) + self._offset(), self._log_det(z)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._solve(x - self._offset()), -self._log_det(x)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``log |det W|``, the same everywhere: neither direction is evaluated."""
        return self._log_det(self._checked("x", x, None)[0])

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        return self._solve_transposed(score)
