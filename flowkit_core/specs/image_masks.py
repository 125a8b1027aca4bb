"""Masks of image couplings: which numbers of an image pass through and are seen by the network."""

from abc import abstractmethod
from dataclasses import dataclass

from flowkit_core import checks
from flowkit_core.specs.base import Spec

ImageShape = tuple[int, int, int]


class ImageMaskSpec(Spec):
    """A rule that splits an image into what passes through and what is moved."""

    @abstractmethod
    def channels(self, image_shape: ImageShape) -> tuple[int, int]:
        """Channels that the network sees, and channels that the law moves.

        Raises:
            ValueError: if the mask does not fit images of that shape, or would move nothing.
        """

    @abstractmethod
    def summary(self) -> str:
        """A word or two that name the mask."""


@dataclass(frozen=True)
class CheckerboardMask(ImageMaskSpec, kind="checkerboard_mask"):
    """Every second pixel passes through, with all of its channels; any height and width.

    Args:
        flip: whether the other pixels do, so that the upper left one is moved.
    """

    flip: bool = False

    def __post_init__(self) -> None:
        checks.boolean("flip", self.flip)

    def channels(self, image_shape: ImageShape) -> tuple[int, int]:
        """All, on both sides: the network sees whole images with zeros in them."""
        channels, height, width = image_shape
        if height == width == 1 and not self.flip:
            raise ValueError(
                "mask: a checkerboard of one pixel that passes through moves nothing; "
                f"got image_shape={image_shape}, expected more pixels, or flip=True"
            )
        return channels, channels

    def summary(self) -> str:
        """The mask's name."""
        return "checkerboard flipped" if self.flip else "checkerboard"


@dataclass(frozen=True)
class ChannelMask(ImageMaskSpec, kind="channel_mask"):
    """Some channels pass through, at all pixels.

    Args:
        passes: True where a channel passes through and is seen by the network.
    """

    passes: tuple[bool, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "passes", checks.boolean_mask("passes", self.passes))
        if len(set(self.passes)) < 2:
            raise ValueError(
                "passes: expected both True and False entries, so two channels or more, got "
                f"{self.passes}; images of one channel can be squeezed first"
            )

    def channels(self, image_shape: ImageShape) -> tuple[int, int]:
        """How many channels pass, and how many do not."""
        if len(self.passes) != image_shape[0]:
            raise ValueError(
                f"mask: expected {image_shape[0]} entries, one per channel of image_shape="
                f"{image_shape}, got {len(self.passes)}"
            )
        return sum(self.passes), len(self.passes) - sum(self.passes)

    def summary(self) -> str:
        """The mask's entries, shortened."""
        shown = "".join("1" if passes else "0" for passes in self.passes[:16])
        return f"channels {shown}{'...' if len(self.passes) > 16 else ''}"
