"""Images of zeros and ones: scikit-learn's digits, or MNIST from files."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.datasets import load_digits

from tutorials.vae import idx

# Of the training images, what decides when to stop; they are not trained on.
VALIDATION_SHARE = 0.1
HELD_OUT_DIGITS = 297


@dataclass(frozen=True)
class Images:
    """Grey images (n, pixels) between 0 and 1, and the same as zeros and ones.

    Binarisation is dynamic: a pixel of grey g is 1 with probability g. `brightness` has the greys
    that training draws from anew in each epoch; `train`, `validation` and `held_out` were drawn
    once, by a seed, and everything that is measured is measured on them.

    Args:
        brightness: greys of the training images, (n, pixels), float32.
        train: those images as zeros and ones.
        validation: zeros and ones: they decide when training stops.
        held_out: zeros and ones: nothing is decided by them.
        labels: which digit each training image is: no VAE sees them, one picture does, (n,).
        side: pixels of one side of an image.
    """

    brightness: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray
    labels: np.ndarray
    side: int

    @property
    def pixels(self):
        """Numbers of an image."""
        return self.side**2

    @cached_property
    def mean_logits(self):
        """Log-odds of the mean training image: where a decoder's last bias starts."""
        mean = np.clip(self.brightness.mean(0), 0.01, 0.99)
        return np.log(mean / (1 - mean)).astype(np.float32)


def digits(seed=0):
    """Scikit-learn's 1797 digits of 8x8 pixels: 1500 to train and validate, 297 held out."""
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.data))
    held_out, rest = order[:HELD_OUT_DIGITS], order[HELD_OUT_DIGITS:]
    greys = found.data / 16
    return _images(greys[rest], found.target[rest], greys[held_out], seed)


def mnist(folder, seed=0):
    """MNIST as it is split by those who made it, from the IDX files in a folder."""
    train, labels = idx.pair(folder, "train")
    test, _ = idx.pair(folder, "t10k")
    if train.shape[1] != train.shape[2] or train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"{folder}: expected square images of one size, got {train.shape[1:]} in the training "
            f"file and {test.shape[1:]} in the test file"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    greys = (train[order] / 255).reshape(len(train), -1)
    return _images(greys, labels[order], (test / 255).reshape(len(test), -1), seed)


def _images(greys, labels, held_out, seed):
    generator = np.random.default_rng(seed + 1)
    count = max(1, round(VALIDATION_SHARE * len(greys)))
    parts = [greys[count:], greys[:count], held_out]
    binary = [(generator.uniform(size=part.shape) < part).astype(np.float32) for part in parts]
    side = round(greys.shape[1] ** 0.5)
    return Images(parts[0].astype(np.float32), *binary, labels=labels[count:], side=side)
