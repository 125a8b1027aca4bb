"""A flow of vectors on the channels of each pixel."""

from typing import Self

import jax.numpy as jnp
from jax import Array

from flowkit_core.specs import PerPixelSpec
from flowkit_core.specs.image_layers import pixels_shape
from numpyro_flowkit.transforms.around import Around
from numpyro_flowkit.transforms.base import Flow


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

    Raises:
        ValueError: if the inner flow is none of vectors, or a size is out of range.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.1.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import lu_linear
        >>> flow = PerPixel(lu_linear(2)(jax.random.key(0)), 4, 6)
        >>> flow(jnp.ones((5, 2, 4, 6))).shape
        (5, 2, 4, 6)
    """

    static_names = ("spec", "height", "width")

    height: int
    width: int
    _spec_of = PerPixelSpec

    def __init__(self, inner: Flow, height: int, width: int) -> None:
        self.height, self.width = height, width
        spec = None if inner.spec is None else self._spec_of(inner.spec, height, width)
        super().__init__(inner, spec)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return pixels_shape(self.inner.event_shape, self.height, self.width)

    def _round(self, inner: Flow) -> Self:
        return type(self)(inner, self.height, self.width)

    def take_in(self, values: Array) -> tuple[Array, Array | None]:
        """The channels last."""
        return jnp.moveaxis(values, -3, -1), None

    def put_back(self, inside: Array, outside: Array | None) -> Array:
        """The channels where they were."""
        return jnp.moveaxis(inside, -1, -3)

    def _context_inside(self, context: Array | None) -> Array | None:
        return None if context is None else context[..., None, None, :]

    def _log_det_outside(self, log_det: Array) -> Array:
        return log_det.sum((-2, -1))
