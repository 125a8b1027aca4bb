"""A flow on some channels of images: the others are factored out."""

import torch
from torch import Tensor

from flowkit_core.specs import FlowSpec, OnChannelsSpec
from flowkit_core.specs.image_layers import widened_shape
from pyro_flowkit.transforms.around import Around
from pyro_flowkit.transforms.base import Flow


class OnChannels(Around):
    """The inner flow maps the first channels; the others pass as they are.

    This is how a multi-scale flow factors latents out: they keep their place in the image, and the
    layers on coarser scales leave them alone.

    Shapes: z and x (..., num_channels, H, W), of the inner flow (..., C, H, W), log-determinants
    (...).

    Cost: a copy of the image, and the inner flow.

    Args:
        inner: a flow of images of fewer channels.
        num_channels: of the whole image.

    Raises:
        ValueError: if ``num_channels`` leaves none to pass.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.6.

    Example:
        >>> from flowkit_core.specs import Conv1x1Spec, LULinearSpec
        >>> from pyro_flowkit import build
        >>> flow = OnChannels(build(Conv1x1Spec(LULinearSpec(2), 4, 4)), 6)
        >>> flow(torch.ones(5, 6, 4, 4)).shape
        torch.Size([5, 6, 4, 4])
    """

    def __init__(self, inner: Flow, num_channels: int) -> None:
        super().__init__(inner, widened_shape(inner.event_shape, num_channels))

    def _spec_round(self, inner: FlowSpec) -> FlowSpec:
        return OnChannelsSpec(inner, self.event_shape[0])

    def take_in(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """The first channels, and the others."""
        mapped = self.inner.event_shape[0]
        inside, outside = values.split((mapped, self.event_shape[0] - mapped), -3)
        return inside, outside

    def put_back(self, inside: Tensor, outside: Tensor | None) -> Tensor:
        """All channels in their places."""
        return inside if outside is None else torch.cat((inside, outside), -3)
