"""What the linear layers share: ``x = W z + shift``."""

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from flowkit_core.specs.linear import LinearSpec
from pyro_flowkit.transforms.base import Flow


class Linear(Flow):
    """``x = W z + shift`` with a W whose inverse and determinant are cheap.

    The diagonal is ``exp`` of a free parameter. It needs no soft bound: no network drives it, so
    it cannot explode on an input that training has not seen.

    Args:
        spec: the architecture as data.
        arrays: tensors under the names of ``spec.arrays()``.
    """

    spec: LinearSpec

    def __init__(self, spec: LinearSpec, arrays: Mapping[str, Tensor]) -> None:
        super().__init__(spec.input_dim, spec=spec)
        for array in spec.arrays():
            self.register_parameter(array.name, nn.Parameter(arrays[array.name].clone()))

    @abstractmethod
    def _log_diagonal(self) -> Tensor:
        """Logarithms of the D factors of |det W|."""

    @abstractmethod
    def _multiply(self, z: Tensor) -> Tensor:
        """Return W z for (..., D)."""

    @abstractmethod
    def _solve(self, x: Tensor) -> Tensor:
        """Return W^-1 x for (..., D)."""

    @abstractmethod
    def _solve_transposed(self, score: Tensor) -> Tensor:
        """Return W^-T u for (..., D)."""

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._multiply(z) + self.shift, self._log_diagonal().sum().expand(z.shape[:-1])

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._solve(x - self.shift), -self._log_diagonal().sum().expand(x.shape[:-1])

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, log_det = self._forward_and_log_det(z, context)
        return x, log_det, self._solve_transposed(score)
