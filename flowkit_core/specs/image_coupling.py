"""Coupling layers of images."""

from dataclasses import dataclass
from math import prod

from flowkit_core import checks
from flowkit_core.specs.autoregressive import free_arrays
from flowkit_core.specs.base import ArraySpec, FlowSpec, prefixed
from flowkit_core.specs.conv_net import ConvNetSpec
from flowkit_core.specs.image_masks import ImageMaskSpec, ImageShape
from flowkit_core.specs.laws import LawSpec


@dataclass(frozen=True)
class ImageCouplingSpec(FlowSpec, kind="image_coupling"):
    """RealNVP's coupling of images, by checkerboards or channels (Dinh et al. 2017, section 3.4).

    Args:
        image_shape: (channels, height, width).
        mask: what passes through.
        conditioner: network from what passes through to the laws of the rest.
        law: the map of one number; its free parameters are shared by the pixels of a channel.
    """

    image_shape: ImageShape
    mask: ImageMaskSpec
    conditioner: ConvNetSpec
    law: LawSpec

    def __post_init__(self) -> None:
        shape = checks.image_shape("image_shape", self.image_shape)
        object.__setattr__(self, "image_shape", shape)
        checks.instance("mask", self.mask, ImageMaskSpec)
        checks.instance("conditioner", self.conditioner, ConvNetSpec)
        checks.instance("law", self.law, LawSpec)
        seen, moved = self.mask.channels(shape)
        expected = (seen, self.law.num_conditioned * moved)
        got = (self.conditioner.num_inputs, self.conditioner.num_outputs)
        if got != expected:
            raise ValueError(
                f"conditioner: this mask and law need (num_inputs, num_outputs)={expected}, "
                f"got {got}"
            )

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        return self.image_shape

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Numbers in an image."""
        return prod(self.image_shape)

    @property
    def context_dim(self) -> int:
        """Length of the context vector; 0 for none."""
        return self.conditioner.context_dim

    def arrays(self) -> tuple[ArraySpec, ...]:
        """The conditioner's arrays, then the law's free parameters."""
        _, moved = self.mask.channels(self.image_shape)
        return (
            *prefixed("conditioner", self.conditioner.arrays()),
            *free_arrays(self.law, moved),
        )

    def summary(self) -> str:
        """One line that names the layer and what sets it apart."""
        net = self.conditioner
        parts = [f"image_shape={self.image_shape}", f"hidden_dims={net.hidden_dims}"]
        parts += [f"law={self.law.kind}", f"mask={self.mask.summary()}"]
        parts += ["residual"] if net.residual else []
        parts += ["weight_norm"] if net.weight_norm else []
        parts += [f"context_dim={net.context_dim}"] if net.context_dim else []
        return f"ImageCoupling({', '.join(parts)})"
