"""When an iteration has arrived."""

import math

import torch
from torch import Tensor

from flowkit_core.numerics import STOP_ROUNDING_ERRORS

# An update this many times larger than what counts as rounding is not worth a closer look.
_FAR = 1e3


class Iteration:
    """Watches the updates of a fixed point, whose columns are points with sizes of their own.

    Args:
        start: the first guess, (features, batch).
    """

    def __init__(self, start: Tensor) -> None:
        self.start = start
        self.tolerance = STOP_ROUNDING_ERRORS * torch.finfo(start.dtype).eps
        self.far = math.inf

    def settled(self, guess: Tensor, new: Tensor) -> bool:
        """Whether the update of every point is lost in its rounding; never true of NaN."""
        if new.numel() == 0:
            return True
        moved = torch.sub(new, guess).abs_()
        if self.far < float(moved.amax()) < math.inf:  # spares most of the closer looks
            return False
        size = new.abs().amax(0)
        excess = float(torch.sub(moved.amax(0), size, alpha=self.tolerance).amax())
        self.far = _FAR * self.tolerance * float(size.amax())
        return excess <= 0

    def next_guess(self, new: Tensor) -> Tensor:
        """The iterate itself, with entries that are not finite set back to the first guess.

        While the iteration is under way such entries are only intermediate values that overflowed,
        and zeros of a mask times infinity would spoil coordinates that are right already.
        """
        # far is not finite exactly when the last look found something that is not.
        if math.isfinite(self.far):
            return new
        return torch.where(new.isfinite(), new, self.start)
