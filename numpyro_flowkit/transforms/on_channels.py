"""A flow on some channels of images: the others are factored out."""

from typing import Self

import jax.numpy as jnp
from jax import Array

from flowkit_core.specs import OnChannelsSpec
from flowkit_core.specs.image_layers import widened_shape
from numpyro_flowkit.transforms.around import Around
from numpyro_flowkit.transforms.base import Flow


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
        ValueError: if ``num_channels`` leaves none to pass, or the inner flow is none of images.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.6.

    Example:
        >>> import jax
        >>> from flowkit_core.specs import Conv1x1Spec, LULinearSpec
        >>> from numpyro_flowkit import FlowInit
        >>> inner = FlowInit(Conv1x1Spec(LULinearSpec(2), 4, 4))(jax.random.key(0))
        >>> OnChannels(inner, 6)(jnp.ones((5, 6, 4, 4))).shape
        (5, 6, 4, 4)
    """

    static_names = ("spec", "num_channels")

    num_channels: int

    def __init__(self, inner: Flow, num_channels: int) -> None:
        self.num_channels = num_channels
        spec = None if inner.spec is None else OnChannelsSpec(inner.spec, num_channels)
        super().__init__(inner, spec)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(num_channels, H, W)."""
        return widened_shape(self.inner.event_shape, self.num_channels)

    def _round(self, inner: Flow) -> Self:
        return type(self)(inner, self.num_channels)

    def take_in(self, values: Array) -> tuple[Array, Array | None]:
        """The first channels, and the others."""
        mapped = self.inner.event_shape[0]
        return values[..., :mapped, :, :], values[..., mapped:, :, :]

    def put_back(self, inside: Array, outside: Array | None) -> Array:
        """All channels in their places."""
        return inside if outside is None else jnp.concatenate((inside, outside), -3)
