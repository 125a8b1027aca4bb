"""A flow on squeezed images."""

from typing import Self

import jax.numpy as jnp
from jax import Array

from flowkit_core.specs import SqueezedSpec
from flowkit_core.specs.image_layers import unsqueezed_shape
from numpyro_flowkit.transforms.around import Around
from numpyro_flowkit.transforms.base import Flow


class Squeezed(Around):
    """Each block of 2x2 pixels is one pixel of four times the channels to the inner flow.

    Channel ``(2 i + j) C + c`` of the squeezed image is channel c at row i and column j of the
    blocks, so that half of the channels are whole pixels.

    Shapes: z and x (..., C, H, W), of the inner flow (..., 4 C, H / 2, W / 2), log-determinants
    (...).

    Cost: two copies of the image, and the inner flow.

    Args:
        inner: a flow of images of 4 C channels.

    Raises:
        ValueError: if the inner flow is none of images, or of another number of channels.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.6.

    Example:
        >>> squeeze(jnp.arange(4.0).reshape(1, 2, 2)).shape
        (4, 1, 1)
    """

    def __init__(self, inner: Flow) -> None:
        super().__init__(inner, None if inner.spec is None else SqueezedSpec(inner.spec))

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return unsqueezed_shape(self.inner.event_shape)

    def _round(self, inner: Flow) -> Self:
        return type(self)(inner)

    def take_in(self, values: Array) -> tuple[Array, None]:
        """The squeezed image."""
        return squeeze(values), None

    def put_back(self, inside: Array, outside: Array | None) -> Array:
        """The image in its own shape."""
        return unsqueeze(inside)


def squeeze(values: Array) -> Array:
    """Images (..., C, H, W) as (..., 4 C, H / 2, W / 2)."""
    *batch, channels, height, width = values.shape
    blocks = values.reshape(*batch, channels, height // 2, 2, width // 2, 2)
    moved = jnp.moveaxis(blocks, (-3, -1), (-5, -4))
    return moved.reshape(*batch, 4 * channels, height // 2, width // 2)


def unsqueeze(values: Array) -> Array:
    """Undo `squeeze`."""
    *batch, channels, height, width = values.shape
    blocks = values.reshape(*batch, 2, 2, channels // 4, height, width)
    moved = jnp.moveaxis(blocks, (-5, -4), (-3, -1))
    return moved.reshape(*batch, channels // 4, 2 * height, 2 * width)
