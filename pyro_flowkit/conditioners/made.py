"""MADE: the masked conditioner of autoregressive layers."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit_core.specs import MADESpec
from pyro_flowkit.conditioners.base import Conditioner, draw_arrays


class MADE(Conditioner):
    """Masked network: parameters of position j are functions of positions below j and the context.

    Shapes: inputs (..., D), context (..., context_dim), outputs (..., num_params * D), parameter
    by parameter: ``outputs.unflatten(-1, (num_params, D))`` separates them.

    Cost: one dense pass; the zeros of the masks are multiplied too.

    Args:
        spec: widths, activation, context, residual blocks.
        arrays: tensors under the names of ``spec.arrays()``.

    References:
        Germain et al., "MADE: Masked Autoencoder for Distribution Estimation", 2015, section 3;
        residual blocks as in Durkan and Nash, "Autoregressive Energy Machines", 2019, section 3.1.

    Example:
        >>> spec = MADESpec(
        ...     hidden_dims=(8,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     input_dim=3,
        ...     num_params=2,
        ...     residual=False,
        ... )
        >>> net = MADE.init(spec, torch.Generator().manual_seed(0))
        >>> net(torch.ones(5, 3)).shape
        torch.Size([5, 6])
    """

    spec: MADESpec

    def __init__(self, spec: MADESpec, arrays: Mapping[str, Tensor]) -> None:
        super().__init__(spec, arrays)
        # Masks follow from the spec, so they are buffers that move with the module but are not
        # saved. They are floats because a product with them is what masks the weights.
        for layer, mask in enumerate(spec.masks):
            values = torch.from_numpy(mask).to(self.weight(0))
            self.register_buffer(f"mask_{layer}", values, persistent=False)

    @classmethod
    def init(cls, spec: MADESpec, generator: torch.Generator) -> "MADE":
        """A network with freshly drawn weights; its outputs are zero until it is trained."""
        return cls(spec, draw_arrays(spec.arrays(), generator))

    def mask(self, layer: int) -> Tensor:
        """Mask of one linear layer's weight: 1 where a connection is allowed, else 0."""
        mask: Tensor = getattr(self, f"mask_{layer}")
        return mask

    def masked_weight(self, layer: int) -> Tensor:
        """Weight of one linear layer with zeros where the mask forbids a connection."""
        return self.weight(layer) * self.mask(layer)

    def linear(self, layer: int, inputs: Tensor) -> Tensor:
        """Apply one masked linear layer."""
        return F.linear(inputs, self.masked_weight(layer), self.bias(layer))

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (..., D) and a context (..., context_dim) to (..., num_params * D)."""
        if not self.spec.residual:
            return super().forward(inputs, context)
        return self.residual_forward(inputs, context)

    def with_pres(self, inputs: Tensor, context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """The outputs, and what each activation was applied to: as many arrays as hidden layers."""
        pres: list[Tensor] = []
        outputs = self.first(inputs, context)
        for layer in range(1, self.num_layers):
            pres.append(outputs)
            outputs = self.linear(layer, self.activation(outputs))
            if self.spec.residual and layer % 2 == 0:  # a block ends; the last layer is odd
                outputs = pres[-2] + outputs
        return outputs, pres
