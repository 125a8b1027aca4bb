"""The Gaussian with a full covariance, on the same logits as the flows."""

import numpy as np

from flowkit_core.bits import bits_per_dim
from tutorials.images import outcome
from tutorials.images.data import NUM_LEVELS, SHAPE
from tutorials.images.models import ALPHA, DIM


def run(digits, settings):
    """Fit by maximum likelihood to many draws of the noise, and measure: an `Outcome`."""
    generator = np.random.default_rng(settings.seed)
    draws = [_logits(digits.train, generator)[0] for _ in range(settings.noises)]
    rows = np.concatenate(draws)
    mean, covariance = rows.mean(0), np.cov(rows.T, bias=True)
    bits = np.mean(
        [_bits(mean, covariance, digits.held_out, generator) for _ in range(settings.noises)], 0
    )
    z = generator.multivariate_normal(mean, covariance, outcome.NUM_DRAWN)
    x = (1 / (1 + np.exp(-z)) - ALPHA) / (1 - 2 * ALPHA)
    return outcome.Outcome("gaussian", DIM * (DIM + 3) // 2, bits, x.reshape(-1, *SHAPE))


def _logits(part, generator):
    """Logits of noisy images (n, 64), and ``log |det d logit / d x|``."""
    levels = part.levels.reshape(len(part), -1)
    x = (levels + generator.uniform(size=levels.shape)) / NUM_LEVELS
    inside = ALPHA + (1 - 2 * ALPHA) * x
    log_slopes = np.log1p(-2 * ALPHA) - np.log(inside) - np.log1p(-inside)
    return np.log(inside) - np.log1p(-inside), log_slopes.sum(1)


def _bits(mean, covariance, part, generator):
    z, log_det = _logits(part, generator)
    centred = z - mean
    squares = (centred @ np.linalg.inv(covariance) * centred).sum(1)
    log_prob = -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance).logabsdet) + log_det
    return bits_per_dim(log_prob, DIM, NUM_LEVELS)
