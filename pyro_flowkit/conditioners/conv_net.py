"""Convolutional network: the conditioner of couplings of images."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit_core.specs import ConvNetSpec
from pyro_flowkit.conditioners.base import Conditioner, draw_arrays


class ConvNet(Conditioner):
    """A stack of 3x3 convolutions with zeros round the image, plain or in residual blocks.

    Shapes: inputs (..., num_inputs, H, W), context (..., context_dim), outputs
    (..., num_outputs, H, W).

    Cost: one pass; ``9 * sum of inputs * outputs`` multiplications per pixel.

    Args:
        spec: channels, activation, context, residual blocks, weight normalisation.
        arrays: tensors under the names of ``spec.arrays()``.

    References:
        He et al., "Identity Mappings in Deep Residual Networks", 2016; Salimans, Kingma, "Weight
        Normalization", 2016, equation 2.

    Example:
        >>> spec = ConvNetSpec(
        ...     hidden_dims=(8,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     num_inputs=1,
        ...     num_outputs=2,
        ...     residual=True,
        ...     weight_norm=True,
        ... )
        >>> net = ConvNet.init(spec, torch.Generator().manual_seed(0))
        >>> net(torch.ones(5, 1, 4, 4)).shape
        torch.Size([5, 2, 4, 4])
    """

    spec: ConvNetSpec

    def __init__(self, spec: ConvNetSpec, arrays: Mapping[str, Tensor]) -> None:
        super().__init__(spec, arrays)

    @classmethod
    def init(cls, spec: ConvNetSpec, generator: torch.Generator) -> "ConvNet":
        """A network with freshly drawn weights; its outputs are zero until it is trained."""
        return cls(spec, draw_arrays(spec.arrays(), generator))

    def weight(self, layer: int) -> Tensor:
        """Kernels (outputs x inputs x 3 x 3) of one convolution, as they are applied."""
        weight = super().weight(layer)
        if not self.spec.weight_norm or layer == self.num_layers - 1:
            return weight
        # What is drawn uniformly from +-1/sqrt(n) for n inputs has length 1/sqrt(3), nearly.
        length = torch.linalg.vector_norm(weight, dim=(1, 2, 3)) * 3**0.5
        gain: Tensor = getattr(self, f"gain_{layer}")
        return weight * (torch.exp(gain) / length)[:, None, None, None]

    def linear(self, layer: int, inputs: Tensor) -> Tensor:
        """Apply one convolution."""
        return F.conv2d(inputs, self.weight(layer), self.bias(layer), padding="same")

    def first(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        """The first convolution; a context is a bias of each of its channels."""
        outputs = self.linear(0, inputs)
        if context is None:
            return outputs
        return outputs + F.linear(context, self.context_weight)[..., None, None]

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (..., C, H, W) and a context (..., context_dim) to (..., outputs, H, W)."""
        batch = inputs.shape[:-3]
        # torch's convolutions have one batch dimension.
        images = channels_last(inputs.reshape(batch.numel(), *inputs.shape[-3:]))
        given = None if context is None else context.reshape(batch.numel(), context.shape[-1])
        run = self.residual_forward if self.spec.residual else super().forward
        outputs = run(images, given)
        return outputs.contiguous().reshape(*batch, *outputs.shape[1:])


def channels_last(images: Tensor) -> Tensor:
    """The same images, the channels of a pixel side by side in memory where that is faster.

    A CPU takes three quarters of the time for convolutions of such images, and what follows keeps
    their order. (``contiguous(memory_format=...)`` says the same, but not inside of ``vmap``.)
    """
    if images.device.type != "cpu" or images.dtype != torch.float32:
        return images
    return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
