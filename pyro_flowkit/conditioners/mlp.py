"""Multi-layer perceptron: the conditioner of coupling layers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from flowkit_core.specs import MLPSpec
from pyro_flowkit.conditioners.base import Conditioner, draw_arrays


class MLP(Conditioner):
    """``W_L a(... a(W_0 x + C c + b_0) ...) + b_L`` with activation a and context c.

    Shapes: inputs (..., num_inputs), context (..., context_dim), outputs (..., num_outputs).

    Args:
        spec: widths, activation, context.
        arrays: tensors under the names of ``spec.arrays()``.

    Example:
        >>> spec = MLPSpec(
        ...     hidden_dims=(8,), activation="relu", context_dim=0, num_inputs=2, num_outputs=3
        ... )
        >>> net = MLP.init(spec, torch.Generator().manual_seed(0))
        >>> net(torch.ones(5, 2)).shape
        torch.Size([5, 3])
    """

    spec: MLPSpec

    def __init__(self, spec: MLPSpec, arrays: Mapping[str, Tensor]) -> None:
        super().__init__(spec, arrays)

    @classmethod
    def init(cls, spec: MLPSpec, generator: torch.Generator) -> "MLP":
        """A network with freshly drawn weights; its outputs are zero until it is trained."""
        return cls(spec, draw_arrays(spec.arrays(), generator))
