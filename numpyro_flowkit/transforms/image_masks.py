"""What of an image passes through a coupling, and what is moved."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import groupby

import jax.numpy as jnp
from jax import Array

from flowkit_core.masks import Mask, checkerboard_mask
from flowkit_core.specs import ChannelMask, CheckerboardMask, ImageMaskSpec
from flowkit_core.specs.image_masks import ImageShape


class ImageSplit(ABC):
    """Takes images (..., C, H, W) apart and puts them together again."""

    @abstractmethod
    def split(self, values: Array) -> tuple[Array, Array]:
        """What passes through, and the rest."""

    @abstractmethod
    def merge(self, kept: Array, moved: Array) -> Array:
        """Undo `split`."""

    def at_moved(self, log_slope: Array) -> Array:
        """Log-slopes, zero where an array of the moved part holds nothing that is moved."""
        return log_slope


@dataclass(frozen=True)
class CheckerboardSplit(ImageSplit):
    """Both parts are whole images with zeros in the places of the other one.

    A network of convolutions needs the places; picking every second pixel would lose them.
    """

    passes: Mask

    def split(self, values: Array) -> tuple[Array, Array]:
        """The pixels that pass through, and the others."""
        return jnp.where(self.passes, values, 0), jnp.where(self.passes, 0, values)

    def merge(self, kept: Array, moved: Array) -> Array:
        """Each pixel from the part it belongs to."""
        return jnp.where(self.passes, kept, moved)

    def at_moved(self, log_slope: Array) -> Array:
        """Zero at the pixels that pass through."""
        return jnp.where(self.passes, 0, log_slope)


@dataclass(frozen=True)
class ChannelSplit(ImageSplit):
    """The parts have the channels that pass through, and the others.

    Neighbouring channels of one part are one slice; no channel is looked up.
    """

    passes: tuple[bool, ...]

    @property
    def _sizes(self) -> list[int]:
        return [len(list(run)) for _, run in groupby(self.passes)]

    def split(self, values: Array) -> tuple[Array, Array]:
        """The channels that pass through, and the others."""
        pieces = _pieces(values, self._sizes)
        first, second = (jnp.concatenate(pieces[i::2], -3) for i in (0, 1))
        return (first, second) if self.passes[0] else (second, first)

    def merge(self, kept: Array, moved: Array) -> Array:
        """The slices in their order."""
        parts = (kept, moved) if self.passes[0] else (moved, kept)
        count = len(self._sizes)
        first, second = (_pieces(part, self._sizes[i::2]) for i, part in enumerate(parts))
        return jnp.concatenate([(first, second)[i % 2][i // 2] for i in range(count)], -3)


def image_split(mask: ImageMaskSpec, image_shape: ImageShape) -> ImageSplit:
    """The split that a mask stands for.

    Raises:
        ValueError: if the mask does not fit images of that shape.
        TypeError: for a mask of an unknown kind.
    """
    mask.channels(image_shape)
    if isinstance(mask, CheckerboardMask):
        return CheckerboardSplit(checkerboard_mask(*image_shape[1:], flip=mask.flip))
    if isinstance(mask, ChannelMask):
        return ChannelSplit(mask.passes)
    raise TypeError(f"mask: expected a known image mask, got {type(mask).__name__}")


def _pieces(values: Array, sizes: list[int]) -> list[Array]:
    """Neighbouring slices of the channels."""
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [values[..., b - n : b, :, :] for b, n in zip(stops, sizes, strict=True)]
