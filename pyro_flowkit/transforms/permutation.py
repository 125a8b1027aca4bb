"""Fixed permutation of the coordinates."""

import torch
from torch import Tensor

from flowkit_core import checks, masks
from flowkit_core.specs import PermutationSpec
from pyro_flowkit.transforms.base import Flow


class Permutation(Flow):
    """``x[i] = z[order[i]]``; the log-determinant is 0.

    The order is a buffer, so it moves with the module and survives copies.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: one copy in either direction, exact.

    Args:
        spec: ``PermutationSpec(order)``.

    Example:
        >>> Permutation(PermutationSpec((2, 0, 1)))(torch.tensor([1.0, 2.0, 3.0])).tolist()
        [3.0, 1.0, 2.0]
    """

    spec: PermutationSpec
    _order: Tensor
    _inverse_order: Tensor

    def __init__(self, spec: PermutationSpec) -> None:
        checks.instance("spec", spec, PermutationSpec)
        super().__init__(spec.input_dim, spec=spec)
        inverse = masks.invert_order(spec.order)
        self.register_buffer("_order", torch.tensor(spec.order), persistent=False)
        self.register_buffer("_inverse_order", torch.tensor(inverse), persistent=False)

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z.index_select(-1, self._order), z.new_zeros(z.shape[:-1])

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x.index_select(-1, self._inverse_order), x.new_zeros(x.shape[:-1])

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        return score.index_select(-1, self._order)


def permuted(values: Tensor, order: Tensor | None, *, reverse: bool) -> Tensor:
    """Entries of (..., D) in another order.

    Args:
        values: (..., D).
        order: indices (D,), or None for the order they are in.
        reverse: whether ``order`` runs backwards; a flip is much cheaper to differentiate.
    """
    if order is None:
        return values
    return values.flip(-1) if reverse else values.index_select(-1, order)
