"""Layers that make a flow of images of another flow: of squeezed ones, of some channels, of pixels.

Each maps images (channels, height, width) to images of the same shape, so that they compose like
any other layer; what a multi-scale flow factors out passes through, instead of being split off.
"""

from dataclasses import dataclass
from math import prod

from flowkit_core import checks
from flowkit_core.specs.base import ArraySpec, FlowSpec, prefixed
from flowkit_core.specs.image_masks import ImageShape
from flowkit_core.specs.linear import LinearSpec


@dataclass(frozen=True)
class InnerSpec(FlowSpec):
    """A layer of images round an inner flow."""

    inner: FlowSpec

    def __post_init__(self) -> None:
        checks.instance("inner", self.inner, FlowSpec)
        self._check_nesting("inner")
        _ = self.event_shape  # raises if the inner flow does not fit

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Numbers in an image."""
        return prod(self.event_shape)

    @property
    def nesting(self) -> int:
        """How deep flows stand inside this one."""
        return 1 + self.inner.nesting

    @property
    def context_dim(self) -> int:
        """Length of the inner flow's context; 0 for none."""
        return self.inner.context_dim

    @property
    def data_interval(self) -> tuple[float, float] | None:
        """That of the inner flow."""
        return self.inner.data_interval

    @property
    def sequential_forward(self) -> bool:
        """Whether the inner flow goes coordinate by coordinate from base to data."""
        return self.inner.sequential_forward

    @property
    def sequential_inverse(self) -> bool:
        """Whether the inner flow goes coordinate by coordinate from data to base."""
        return self.inner.sequential_inverse

    def arrays(self) -> tuple[ArraySpec, ...]:
        """The inner flow's arrays under ``inner.``."""
        return prefixed("inner", self.inner.arrays())

    def summary(self) -> str:
        """The layer's name and the inner flow's summary."""
        name = type(self).__name__.removesuffix("Spec")
        return f"{name}(image_shape={self.event_shape}, {self.inner.summary()})"


@dataclass(frozen=True)
class SqueezedSpec(InnerSpec, kind="squeezed"):
    """The inner flow acts on images of half the height and width and four times the channels.

    Each block of 2x2 pixels becomes one pixel (Dinh et al. 2017, section 3.6).

    Args:
        inner: a flow of images (4 C, H / 2, W / 2).
    """

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return unsqueezed_shape(self.inner.event_shape)


@dataclass(frozen=True)
class OnChannelsSpec(InnerSpec, kind="on_channels"):
    """The inner flow acts on the first channels; the others pass: they are factored out.

    Args:
        inner: a flow of images of fewer channels.
        num_channels: of the whole image.
    """

    num_channels: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inner.data_interval is not None:
            raise ValueError(
                "inner: expected a flow whose data side is all real numbers, as that of the "
                f"channels that pass, got {self.inner.summary()}"
            )

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(num_channels, H, W)."""
        return widened_shape(self.inner.event_shape, self.num_channels)


@dataclass(frozen=True)
class PerPixelSpec(InnerSpec, kind="per_pixel"):
    """The inner flow of vectors acts on the channels of each pixel.

    Args:
        inner: a flow of vectors of C numbers.
        height: of the images.
        width: of the images.
    """

    height: int
    width: int

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return pixels_shape(self.inner.event_shape, self.height, self.width)


@dataclass(frozen=True)
class Conv1x1Spec(PerPixelSpec, kind="conv1x1"):
    """Invertible 1x1 convolution: one linear map of the channels for all pixels (Glow, eq. 9).

    Args:
        inner: a linear layer of C numbers, such as ``LULinearSpec(C)``.
        height: of the images.
        width: of the images.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.instance("inner", self.inner, LinearSpec)


@dataclass(frozen=True)
class FlattenedSpec(InnerSpec, kind="flattened"):
    """The inner flow of vectors acts on all numbers of an image at once.

    Args:
        inner: a flow of vectors of C * H * W numbers.
        image_shape: (channels, height, width).
    """

    image_shape: ImageShape

    def __post_init__(self) -> None:
        shape = checks.image_shape("image_shape", self.image_shape)
        object.__setattr__(self, "image_shape", shape)
        super().__post_init__()

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return unflattened_shape(self.inner.event_shape, self.image_shape)


def unsqueezed_shape(inner: tuple[int, ...]) -> ImageShape:
    """Shape of the images that are ``inner`` when squeezed.

    Raises:
        ValueError: if there are none.
    """
    channels, height, width = _image(inner)
    if channels % 4:
        raise ValueError(
            "inner: squeezing makes four channels of one, so expected a number of channels "
            f"divisible by 4, got images {inner}"
        )
    return channels // 4, 2 * height, 2 * width


def widened_shape(inner: tuple[int, ...], num_channels: int) -> ImageShape:
    """Shape of the images of ``num_channels``, of which an inner flow maps the first.

    Raises:
        ValueError: if it would map all of them, or is no flow of images.
        TypeError: if ``num_channels`` is no integer.
    """
    channels, height, width = _image(inner)
    total = checks.positive_int("num_channels", num_channels)
    if total <= channels:
        raise ValueError(
            f"num_channels: expected more than the inner flow's {channels}, got {total}"
        )
    return total, height, width


def pixels_shape(inner: tuple[int, ...], height: int, width: int) -> ImageShape:
    """Shape of the images whose pixels an inner flow of vectors maps.

    Raises:
        ValueError: if the inner flow is none of vectors, or a size is out of range.
        TypeError: if a size is no integer.
    """
    if len(inner) != 1:
        raise ValueError(f"inner: expected a flow of vectors, got one of shape {inner}")
    return inner[0], checks.positive_int("height", height), checks.positive_int("width", width)


def unflattened_shape(inner: tuple[int, ...], image_shape: ImageShape) -> ImageShape:
    """Shape of the images that an inner flow maps as vectors.

    Raises:
        ValueError: if the inner flow is none of vectors of that size.
    """
    if inner != (prod(image_shape),):
        raise ValueError(
            f"inner: expected a flow of vectors of {prod(image_shape)} numbers, as images "
            f"{image_shape} have, got one of shape {inner}"
        )
    return image_shape


def _image(shape: tuple[int, ...]) -> ImageShape:
    if len(shape) != 3:
        raise ValueError(
            f"inner: expected a flow of images (channels, height, width), got one of shape {shape}"
        )
    channels, height, width = shape
    return channels, height, width
