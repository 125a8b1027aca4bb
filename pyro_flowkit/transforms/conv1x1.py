"""Invertible 1x1 convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor

from flowkit_core import checks
from flowkit_core.specs import Conv1x1Spec, FlowSpec
from pyro_flowkit.transforms.linear import Linear
from pyro_flowkit.transforms.per_pixel import PerPixel


class Conv1x1(PerPixel):
    """``x = W z + shift`` at each pixel; ``log |det| = H W log |det W|``.

    What `PerPixel` gives with a linear layer inside, but for how it is computed: an image has many
    more pixels than channels, so W or its inverse is formed once per call, out of the factors that
    the linear layer trains, and the pixels are one product.

    Shapes: z and x (..., C, H, W), log-determinants (...).

    Cost: C^3 once and C^2 per pixel, in either direction.

    Stability: W^-1 comes from triangular solves, so its error is that of the condition of W.

    Args:
        inner: a linear layer of C numbers, such as an `LULinear`.
        height: of the images.
        width: of the images.

    Raises:
        TypeError: if ``inner`` is no linear layer.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.2, equations 9 to 11.

    Example:
        >>> from pyro_flowkit import lu_linear
        >>> Conv1x1(lu_linear(2), 4, 6)(torch.ones(5, 2, 4, 6)).shape
        torch.Size([5, 2, 4, 6])
    """

    inner: Linear

    def __init__(self, inner: Linear, height: int, width: int) -> None:
        super().__init__(checks.instance("inner", inner, Linear), height, width)

    def _spec_round(self, inner: FlowSpec) -> FlowSpec:
        return Conv1x1Spec(inner, *self.event_shape[1:])

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shift = self.inner._offset()
        return _at_pixels(self.inner.matrix(), z, shift), self._log_det(z)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        inverse = self.inner.inverse_matrix()
        shift = -inverse @ self.inner._offset()
        return _at_pixels(inverse, x, shift), -self._log_det(x)

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, log_det = self._forward_and_log_det(z, context)
        with torch.no_grad():
            return x, log_det, _at_pixels(self.inner.inverse_matrix().T, score, None)

    def _log_det(self, values: Tensor) -> Tensor:
        _, height, width = self.event_shape
        return (self.inner._log_diagonal().sum() * (height * width)).expand(self._batch(values))


def _at_pixels(matrix: Tensor, values: Tensor, shift: Tensor | None) -> Tensor:
    """``matrix @ pixel + shift`` for each pixel of (..., C, H, W)."""
    batch = values.shape[:-3]
    images = values.reshape(batch.numel(), *values.shape[-3:])
    return F.conv2d(images, matrix[:, :, None, None], shift).reshape(values.shape)
