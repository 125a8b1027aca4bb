"""Householder layer: a rotation by a few reflections."""

from collections.abc import Mapping

import torch
from torch import Tensor

from flowkit_core.specs import HouseholderLinearSpec
from pyro_flowkit.transforms.linear import Linear
from pyro_flowkit.transforms.matrices import reflect


class HouseholderLinear(Linear):
    r"""``x = Q z + shift``: Q a product of K Householder reflections ``1 - 2 v v^T / |v|^2``.

    K is even, since a rotation has determinant 1 and each reflection -1. Two neighbours in the
    product start with the same coordinate vector, ``v_{2i} = v_{2i+1} = e_i``, and so undo each
    other: Q starts exactly at the identity. The log-determinant is 0.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: 2 K D per point in either direction, plus K^2 D per call. Both directions are exact.

    Stability: Q is orthogonal to rounding whatever the parameters.

    Args:
        spec: ``HouseholderLinearSpec(input_dim, num_reflections)``.
        arrays: reflections, (K, D), what is added to the coordinate vectors; shift.

    References:
        Tomczak, Welling, "Improving Variational Auto-Encoders using Householder Flow", 2016; Golub,
        Van Loan, "Matrix Computations", 4th ed., section 5.1.7 (compact WY form).

    Example:
        >>> from flowkit_core.specs import HouseholderLinearSpec
        >>> arrays = {
        ...     "reflections": torch.tensor([[0.0, 0.0], [0.0, 1.0]]),
        ...     "shift": torch.zeros(2),
        ... }
        >>> x = HouseholderLinear(HouseholderLinearSpec(2, 2), arrays)(torch.tensor([3.0, 4.0]))
        >>> [round(v, 3) for v in x.tolist()]
        [4.0, -3.0]
    """

    spec: HouseholderLinearSpec
    reflections: Tensor
    _start: Tensor

    def __init__(self, spec: HouseholderLinearSpec, arrays: Mapping[str, Tensor]) -> None:
        super().__init__(spec, arrays)
        start = torch.eye(spec.input_dim)[list(spec.axes)].to(self.reflections)
        self.register_buffer("_start", start, persistent=False)

    def _vectors(self) -> Tensor:
        """The vectors v as columns, (D, K)."""
        return (self._weight("reflections") + self._start).T

    def _log_diagonal(self) -> Tensor:
        return self._weight("shift").new_zeros(())

    def _multiply(self, z: Tensor) -> Tensor:
        return reflect(self._vectors(), z)

    def _solve(self, x: Tensor) -> Tensor:
        return reflect(self._vectors(), x, transpose=True)

    def _solve_transposed(self, score: Tensor) -> Tensor:
        return reflect(self._vectors(), score)  # Q^-T = Q
