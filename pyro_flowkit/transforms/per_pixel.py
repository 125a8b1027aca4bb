"""A flow of vectors on the channels of each pixel."""

from torch import Tensor

from flowkit_core.specs import FlowSpec, PerPixelSpec
from flowkit_core.specs.image_layers import pixels_shape
from pyro_flowkit.transforms.around import Around
from pyro_flowkit.transforms.base import Flow


class PerPixel(Around):
    """The inner flow maps the channels of each pixel; all pixels share its weights.

    ``log |det|`` is the sum of the inner flow's over the pixels. An ActNorm inside is Glow's
    ActNorm of channels.

    Shapes: z and x (..., C, H, W), of the inner flow (..., H, W, C), log-determinants (...).

    Cost: that of the inner flow on H * W vectors.

    Args:
        inner: a flow of vectors of C numbers.
        height: of the images.
        width: of the images.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.1.

    Example:
        >>> import torch
        >>> from pyro_flowkit import lu_linear
        >>> PerPixel(lu_linear(2), 4, 6)(torch.ones(5, 2, 4, 6)).shape
        torch.Size([5, 2, 4, 6])
    """

    def __init__(self, inner: Flow, height: int, width: int) -> None:
        super().__init__(inner, pixels_shape(inner.event_shape, height, width))

    def _spec_round(self, inner: FlowSpec) -> FlowSpec:
        return PerPixelSpec(inner, *self.event_shape[1:])

    def take_in(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """The channels last."""
        return values.movedim(-3, -1), None

    def put_back(self, inside: Tensor, outside: Tensor | None) -> Tensor:
        """The channels where they were."""
        return inside.movedim(-1, -3)

    def _context_inside(self, values: Tensor, context: Tensor | None) -> Tensor | None:
        if context is None:
            return None
        batch, (_, *pixels) = context.shape[:-1], self.event_shape
        return context[..., None, None, :].expand(*batch, *pixels, self.context_dim)

    def _log_det_outside(self, log_det: Tensor) -> Tensor:
        return log_det.sum((-2, -1))
