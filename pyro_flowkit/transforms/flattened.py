"""A flow of vectors on whole images."""

from collections.abc import Sequence

from torch import Tensor

from flowkit_core import checks
from flowkit_core.specs import FlattenedSpec, FlowSpec
from flowkit_core.specs.image_layers import unflattened_shape
from pyro_flowkit.transforms.around import Around
from pyro_flowkit.transforms.base import Flow


class Flattened(Around):
    """The inner flow maps the numbers of an image as one vector.

    With a diagonal layer inside, each number has a scale of its own; with a logit, images lie
    between 0 and 1; with a `realnvp`, nothing is known of neighbours.

    Shapes: z and x (..., C, H, W), of the inner flow (..., C * H * W), log-determinants (...).

    Cost: that of the inner flow.

    Args:
        inner: a flow of vectors of C * H * W numbers.
        image_shape: (C, H, W).

    Raises:
        ValueError: if the inner flow is none of vectors of that size.

    Example:
        >>> import torch
        >>> from pyro_flowkit import qr_linear
        >>> Flattened(qr_linear(4), (1, 2, 2))(torch.ones(5, 1, 2, 2)).shape
        torch.Size([5, 1, 2, 2])
    """

    def __init__(self, inner: Flow, image_shape: Sequence[int]) -> None:
        shape = checks.image_shape("image_shape", image_shape)
        super().__init__(inner, unflattened_shape(inner.event_shape, shape))

    def _spec_round(self, inner: FlowSpec) -> FlowSpec:
        channels, height, width = self.event_shape
        return FlattenedSpec(inner, (channels, height, width))

    def take_in(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """All numbers in a row."""
        return values.flatten(-3), None

    def put_back(self, inside: Tensor, outside: Tensor | None) -> Tensor:
        """The image."""
        return inside.unflatten(-1, self.event_shape)
