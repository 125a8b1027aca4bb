"""Likelihoods of quantised data in bits per dimension."""

import math
from typing import Any

from flowkit_core import checks


def bits_per_dim(log_prob: Any, num_dims: int, num_levels: int = 256) -> Any:
    """Bits per dimension from a log-density of dequantised data in [0, 1].

    ``(log(num_levels) - log_prob / num_dims) / log 2``: a level is 1 / num_levels wide, so
    ``log P(levels) >= log p(x) - num_dims * log(num_levels)`` on average over the noise. Lower is
    better; the uniform density gives ``log2(num_levels)``.

    Args:
        log_prob: log-densities in nats of x in [0, 1]^D: a number or an array of any framework.
        num_dims: D, e.g. height * width * channels.
        num_levels: how many levels the data have; 256 for images of 8 bits.

    Returns:
        What log_prob is, in bits per dimension.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Theis, van den Oord, Bethge, "A note on the evaluation of generative models", 2016, section
        3.1.

    Example:
        >>> bits_per_dim(0.0, 3 * 32 * 32, 256)
        8.0
    """
    num_dims = checks.positive_int("num_dims", num_dims)
    num_levels = checks.int_at_least("num_levels", num_levels, 2)
    return math.log2(num_levels) - log_prob * (1 / (num_dims * math.log(2)))
