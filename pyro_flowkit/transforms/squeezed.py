"""A flow on squeezed images."""

from torch import Tensor

from flowkit_core.specs import FlowSpec, SqueezedSpec
from flowkit_core.specs.image_layers import unsqueezed_shape
from pyro_flowkit.transforms.around import Around
from pyro_flowkit.transforms.base import Flow


class Squeezed(Around):
    """Each block of 2x2 pixels is one pixel of four times the channels to the inner flow.

    Channel ``(2 i + j) C + c`` of the squeezed image is channel c at row i and column j of the
    blocks, so that half of the channels are whole pixels.

    Shapes: z and x (..., C, H, W), of the inner flow (..., 4 C, H / 2, W / 2), log-determinants
    (...).

    Cost: two copies of the image, and the inner flow.

    Args:
        inner: a flow of images of 4 C channels.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.6.

    Example:
        >>> import torch
        >>> squeeze(torch.arange(4.0).reshape(1, 2, 2)).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """

    def __init__(self, inner: Flow) -> None:
        super().__init__(inner, unsqueezed_shape(inner.event_shape))

    def _spec_round(self, inner: FlowSpec) -> FlowSpec:
        return SqueezedSpec(inner)

    def take_in(self, values: Tensor) -> tuple[Tensor, None]:
        """The squeezed image."""
        return squeeze(values), None

    def put_back(self, inside: Tensor, outside: Tensor | None) -> Tensor:
        """The image in its own shape."""
        return unsqueeze(inside)


def squeeze(values: Tensor) -> Tensor:
    """Images (..., C, H, W) as (..., 4 C, H / 2, W / 2)."""
    height, width = values.shape[-2:]
    blocks = values.unflatten(-1, (width // 2, 2)).unflatten(-3, (height // 2, 2))
    return blocks.movedim((-3, -1), (-5, -4)).flatten(-5, -3)


def unsqueeze(values: Tensor) -> Tensor:
    """Undo `squeeze`."""
    blocks = values.unflatten(-3, (2, 2, values.shape[-3] // 4))
    return blocks.movedim((-5, -4), (-3, -1)).flatten(-4, -3).flatten(-2, -1)
