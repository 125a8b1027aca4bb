"""What of an image passes through a coupling, and what is moved."""

from abc import abstractmethod
from itertools import groupby

import torch
from torch import Tensor, nn

from flowkit_core.masks import checkerboard_mask
from flowkit_core.specs import ChannelMask, CheckerboardMask, ImageMaskSpec
from flowkit_core.specs.image_masks import ImageShape


class ImageSplit(nn.Module):
    """Takes images (..., C, H, W) apart and puts them together again."""

    @abstractmethod
    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """What passes through, and the rest."""

    @abstractmethod
    def merge(self, kept: Tensor, moved: Tensor) -> Tensor:
        """Undo `split`."""

    def at_moved(self, log_slope: Tensor) -> Tensor:
        """Log-slopes, zero where an array of the moved part holds nothing that is moved."""
        return log_slope


class CheckerboardSplit(ImageSplit):
    """Both parts are whole images with zeros in the places of the other one.

    A network of convolutions needs the places; picking every second pixel would lose them.
    """

    _passes: Tensor
    _is_moved: Tensor

    def __init__(self, mask: CheckerboardMask, image_shape: ImageShape) -> None:
        super().__init__()
        passes = torch.from_numpy(checkerboard_mask(*image_shape[1:], flip=mask.flip))
        self.register_buffer("_passes", passes, persistent=False)
        self.register_buffer("_is_moved", ~passes, persistent=False)

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The pixels that pass through, and the others."""
        return values.masked_fill(self._is_moved, 0), values.masked_fill(self._passes, 0)

    def merge(self, kept: Tensor, moved: Tensor) -> Tensor:
        """Each pixel from the part it belongs to."""
        return torch.where(self._passes, kept, moved)

    def at_moved(self, log_slope: Tensor) -> Tensor:
        """Zero at the pixels that pass through."""
        return log_slope.masked_fill(self._passes, 0)


class ChannelSplit(ImageSplit):
    """The parts have the channels that pass through, and the others.

    Neighbouring channels of one part are one slice; no channel is looked up.
    """

    def __init__(self, mask: ChannelMask, image_shape: ImageShape) -> None:
        super().__init__()
        runs = [(passes, len(list(run))) for passes, run in groupby(mask.passes)]
        self._runs = tuple(runs)
        self._sizes = [size for _, size in runs]

    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The channels that pass through, and the others."""
        pieces = values.split(self._sizes, -3)
        first, second = _joined(pieces[0::2]), _joined(pieces[1::2])
        return (first, second) if self._runs[0][0] else (second, first)

    def merge(self, kept: Tensor, moved: Tensor) -> Tensor:
        """The slices in their order."""
        parts = (kept, moved) if self._runs[0][0] else (moved, kept)
        sizes = self._sizes[0::2], self._sizes[1::2]
        first, second = (p.split(s, -3) for p, s in zip(parts, sizes, strict=True))
        return torch.cat([(first, second)[i % 2][i // 2] for i in range(len(self._sizes))], -3)


def image_split(mask: ImageMaskSpec, image_shape: ImageShape) -> ImageSplit:
    """The split that a mask stands for.

    Raises:
        ValueError: if the mask does not fit images of that shape.
        TypeError: for a mask of an unknown kind.
    """
    mask.channels(image_shape)
    if isinstance(mask, CheckerboardMask):
        return CheckerboardSplit(mask, image_shape)
    if isinstance(mask, ChannelMask):
        return ChannelSplit(mask, image_shape)
    raise TypeError(f"mask: expected a known image mask, got {type(mask).__name__}")


def _joined(pieces: tuple[Tensor, ...]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, -3)
