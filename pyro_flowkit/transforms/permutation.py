"""Fixed permutation of the coordinates."""

import torch
from torch import Tensor

from flowkit_core import masks
from flowkit_core.specs import PermutationSpec
from pyro_flowkit.transforms.base import Flow


class Permutation(Flow):
    """``x[i] = z[order[i]]``; the log-determinant is 0.

    The order is a buffer, so it moves with the module and survives copies.

    Cost: one gather in either direction.

    Args:
        spec: ``PermutationSpec(order)``.
    """

    def __init__(self, spec: PermutationSpec) -> None:
        super().__init__(spec.input_dim, spec=spec)
        inverse = masks.invert_order(spec.order)
        self.register_buffer("_order", torch.tensor(spec.order), persistent=False)
        self.register_buffer("_inverse_order", torch.tensor(inverse), persistent=False)

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z.index_select(-1, self._order), z.new_zeros(z.shape[:-1])

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, self._inverse_order), x.new_zeros(x.shape[:-1])

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, log_det = self._forward_and_log_det(z, context)
        return x, log_det, score.index_select(-1, self._order)
