"""Sylvester layer."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowkit_core.specs import SylvesterSpec
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.orthonormal import orthonormal_columns
from pyro_flowkit.transforms.residual_activations import RESIDUAL_ACTIVATIONS, invertible


class Sylvester(Flow):
    r"""``x = z + Q R1 h(R2 Q^T z + b)``: M orthonormal columns Q, upper triangles R1 and R2.

    By Sylvester's identity ``det(I + Q R1 D R2 Q^T) = det(I + D R2 R1)`` with ``D = diag(h')``,
    so ``log |det| = sum_i log(1 + h'_i g_i)`` with the gains ``g_i = R1_ii R2_ii``. R1 is
    the triangle of ``outer``, its columns times factors that keep the gains above -0.99
    (`residual_activations.invertible`); at ``outer = 0`` the layer is the identity.

    Shapes: z and x (..., D), log-determinants (...).

    Args:
        spec: the architecture as data.
        arrays: tensors under the names of ``spec.arrays()``; of ``outer`` and ``inner`` the upper
            triangles are used.

    Cost: 2 D M per point in either direction, and D M^2 once per call. For the inverse ``y + R2 R1
    h(y) = R2 Q^T x + b`` is solved from the last of M numbers to the first, each by Newton's
    method (4 steps as a rule; "leaky_relu" in closed form), to rounding; its derivatives are
    implicit. A score takes M^2 numbers per point.

    Stability: each of the M factors of the determinant is at least 0.01, so its logarithm is finite
    whatever the weights. Large entries beside the diagonals magnify rounding on the way back.

    Raises:
        ValueError: if the names of the arrays are not those of the spec.
        InverseNotConverged: from the inverse, if ``max_iterations`` is too small.

    References:
        Van den Berg, Hasenclever, Tomczak, Welling, "Sylvester Normalizing Flows for Variational
        Inference", 2018, theorem 1 and equation 13.

    Example:
        >>> from flowkit_core.specs import ChosenColumns
        >>> arrays = {"outer": torch.ones(1, 1), "inner": torch.ones(1, 1), "bias": torch.zeros(1)}
        >>> flow = Sylvester(SylvesterSpec(2, 1, ChosenColumns((1,))), arrays)
        >>> x, log_det = flow.forward_and_log_det(torch.tensor([3.0, 0.0]))
        >>> x.tolist(), round(log_det.item(), 3)
        ([3.0, 0.0], 0.885)
    """

    spec: SylvesterSpec
    reflections: Tensor | None
    outer: Tensor
    inner: Tensor
    bias: Tensor

    def __init__(self, spec: SylvesterSpec, arrays: Mapping[str, Tensor]) -> None:
        super().__init__(spec.input_dim, spec=spec)
        names = [array.name for array in spec.arrays()]
        if set(names) != set(arrays):
            raise ValueError(f"arrays: expected the names {names}, got {sorted(arrays)}")
        self.register_parameter("reflections", None)  # where Q has no weights
        for name in names:
            self.register_parameter(name, nn.Parameter(arrays[name].detach().clone()))
        self._activation = RESIDUAL_ACTIVATIONS[spec.activation]

    @property
    def iterative_inverse(self) -> bool:
        """Whether ``flow.inv(x)`` iterates."""
        return self._activation.iterative

    def _factors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Q (D, M), R1 and R2 (M, M), and the gains, the diagonal of their product."""
        spec = self.spec
        columns = orthonormal_columns(
            spec.columns, self.inner, spec.input_dim, spec.rank, self.reflections
        )
        factor, gain = invertible(torch.diagonal(self.outer) * torch.diagonal(self.inner))
        return columns, torch.triu(self.outer) * factor, torch.triu(self.inner), gain

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        columns, outer, inner, gain = self._factors()
        h, slope = self._activation.bend(F.linear(z, inner @ columns.T, self.bias))
        return z + F.linear(h, columns @ outer), torch.log1p(gain * slope).sum(-1)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        columns, outer, inner, gain = self._factors()
        v = F.linear(x, inner @ columns.T, self.bias)
        y = self._substitute_back(inner @ outer, gain, v)
        h, slope = self._activation.bend(y)
        return x - F.linear(h, columns @ outer), -torch.log1p(gain * slope).sum(-1)

    def _substitute_back(self, matrix: Tensor, gain: Tensor, v: Tensor) -> Tensor:
        """The y with ``y + matrix h(y) = v``, (..., M): the last number depends on itself alone."""
        found = []
        for i in reversed(range(self.spec.rank)):
            y = self._activation.solve(gain[i], v[..., i], self.spec.max_iterations)
            h, _ = self._activation.bend(y)
            v = v[..., :i] - h[..., None] * matrix[:i, i]
            found.append(y)
        return torch.stack(found[::-1], -1)

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        # J^T v = r, r = score - grad log |det J|, by Woodbury's identity: v = r - Q R2^T s with
        # (I + D (R2 R1)^T) s = D R1^T Q^T r, a lower triangular system of M equations.
        columns, outer, inner, gain = self._factors()
        h, slope = self._activation.bend(F.linear(z, inner @ columns.T, self.bias))
        bent = gain * self._activation.curvature(h, slope) / (1 + gain * slope)
        rest = score @ columns - bent @ inner
        right = slope * (rest @ outer)
        matrix = (inner @ outer).T
        lower = torch.tril(slope[..., :, None] * matrix, -1) + torch.diag_embed(1 + gain * slope)
        solved = torch.linalg.solve_triangular(lower, right[..., None], upper=False)[..., 0]
        return score - (bent + solved) @ inner @ columns.T
