"""Scikit-learn's digits: 8x8 pixels of 17 grey levels."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from sklearn.datasets import load_digits

NUM_LEVELS = 17
NUM_CLASSES = 10
SHAPE = (1, 8, 8)
HELD_OUT = 360
VALIDATION = 140


@dataclass(frozen=True)
class Part:
    """Grey levels (n, 1, 8, 8) and which digit each image shows, as one-hot (n, 10); float32."""

    levels: np.ndarray
    classes: np.ndarray

    def __len__(self):
        return len(self.levels)


@dataclass(frozen=True)
class Digits:
    """What is trained on, what decides when to stop, and what nothing is decided by."""

    train: Part
    validation: Part
    held_out: Part


def digits(seed=0):
    """The 1797 images in an order that the seed draws: 1297 to train, 140 to stop, 360 held out."""
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.images))
    levels = found.images[order].reshape(-1, *SHAPE).astype(np.float32)
    classes = np.eye(NUM_CLASSES, dtype=np.float32)[found.target[order]]
    ends = np.cumsum([0, len(levels) - VALIDATION - HELD_OUT, VALIDATION, HELD_OUT])
    return Digits(*(Part(levels[a:b], classes[a:b]) for a, b in pairwise(ends)))
