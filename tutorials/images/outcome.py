"""What a fitted model yields, and what is asked of it. Knows neither library."""

from dataclasses import dataclass, field

import numpy as np

from flowkit_core.surgery import Estimate
from flowkit_core.surgery.estimate import mean_over_rows
from tutorials.images.data import NUM_CLASSES

NUM_DRAWN = 40
# Ways between pairs of held-out images, and images on each, the two ends included.
NUM_WAYS = 4
WAY_LENGTH = 9


@dataclass(frozen=True)
class Outcome:
    """One model after its fit.

    Args:
        model: a key of `MODELS`, or "gaussian".
        num_parameters: weights trained.
        bits: per dimension, of each held-out image, (n,).
        drawn: images drawn from it, (NUM_DRAWN, 1, 8, 8), between 0 and 1.
        ways: images between held-out ones, (NUM_WAYS, WAY_LENGTH, 1, 8, 8), if there are any.
        curve: (epoch, bits per dimension of the validation images) at each look.
        seconds: that the fit took, compilation included.
    """

    model: str
    num_parameters: int
    bits: np.ndarray
    drawn: np.ndarray
    ways: np.ndarray | None = None
    curve: list = field(default_factory=list)
    seconds: float = 0.0

    @property
    def mean_bits(self) -> Estimate:
        """Mean over held-out images, and its standard error with them as a sample."""
        return mean_over_rows(self.bits[None])

    def less_than(self, other) -> Estimate:
        """How many bits fewer than another model's, image by image."""
        return mean_over_rows((other.bits - self.bits)[None])

    @property
    def kept(self):
        """The epoch whose weights were kept."""
        return min(self.curve, key=lambda look: look[1])[0] if self.curve else None


def classes_to_draw():
    """Which digit each drawn image should show, for models that are told: one-hot, float32."""
    return np.eye(NUM_CLASSES, dtype=np.float32)[np.arange(NUM_DRAWN) % NUM_CLASSES]


def ends(held_out):
    """Indices of the first and the last image of each way: different digits."""
    digit = held_out.classes.argmax(1)
    first = [int(np.flatnonzero(digit == i)[0]) for i in range(2 * NUM_WAYS)]
    return first[:NUM_WAYS], first[NUM_WAYS:]


def ways_between(z_first, z_last):
    """Points between latents (n, ...) on ways along which a standard Normal stays one.

    ``cos(a) z_first + sin(a) z_last``, a from 0 to pi / 2.
    """
    angle = np.linspace(0, np.pi / 2, WAY_LENGTH).reshape(1, -1, *(1,) * (z_first.ndim - 1))
    way = np.cos(angle) * z_first[:, None] + np.sin(angle) * z_last[:, None]
    return way.astype(z_first.dtype)
