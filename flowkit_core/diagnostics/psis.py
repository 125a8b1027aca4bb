"""Pareto smoothing of importance ratios."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flowkit_core.extras import require

Floats = NDArray[np.float64]

# With fewer draws the tail, a fifth of them, is too short to fit a distribution to.
MIN_DRAWS = 100
# Weights this close to each other (relative) have no tail to speak of: it may be all rounding.
_FLAT = 1e-3
# Where too few of them are distinct to fit a distribution, as rounded ones may be, this is enough.
_NEARLY_FLAT = 0.1


def arviz() -> Any:
    """The module arviz, without the announcement of its successor that importing it prints.

    Raises:
        ImportError: if it is not installed; the message names the command that installs it.
    """
    with warnings.catch_warnings():
        # By its text: every other warning reaches the user as usual.
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing a major refactor", FutureWarning)
        return require("arviz", extra="diagnostics", purpose="the diagnosis of a guide")


def khat_threshold(num_samples: int) -> float:
    """The khat up to which smoothed weights are reliable, ``min(1 - 1 / log10(S), 0.7)``.

    Args:
        num_samples: number of draws S, at least 2.

    References:
        Vehtari, Simpson, Gelman, Yao, Gabry, "Pareto Smoothed Importance Sampling", 2024,
        section 3.2.4, equation 13.

    Example:
        >>> round(khat_threshold(1000), 3), khat_threshold(4000)
        (0.667, 0.7)
    """
    return min(1 - 1 / math.log10(num_samples), 0.7)


class Smoothed(NamedTuple):
    """Smoothed log-ratios, on the scale of the raw ones, and the tail's Pareto index."""

    log_ratios: Floats
    khat: float


def smooth(log_ratios: Floats) -> Smoothed:
    """Replace the largest importance ratios by quantiles of a Pareto distribution fitted to them.

    Args:
        log_ratios: ``log p(x, data) - log q(x)`` of draws x of q, (n,), nats; finite, or -inf for
            a ratio of zero.

    Returns:
        The smoothed log-ratios and khat. -inf says that the largest ratios are equal to a
        thousandth: there is no tail, as for an exact guide. +inf says that no tail can be fitted,
        since nearly all the weight is on a handful of draws, or on none.

    Cost: a sort.

    Stability: float64; ratios are only ever exponentiated relative to the largest one.

    Raises:
        ImportError: without arviz.

    References:
        Vehtari et al., "Pareto Smoothed Importance Sampling", 2024, section 2.4 (as computed by
        `arviz.psislw`).

    Example:
        >>> smooth(np.zeros(100)).khat
        -inf
    """
    psislw = arviz().psislw
    largest = log_ratios.max()
    if not math.isfinite(largest):
        return Smoothed(log_ratios, math.inf)
    start = _tail_start(log_ratios)
    if largest - start <= _FLAT:
        # arviz would report +inf, for want of draws above the start of the tail.
        return Smoothed(log_ratios, -math.inf)
    with np.errstate(all="ignore"):
        smoothed, khat = psislw(log_ratios, normalize=False)
    if not math.isfinite(khat):
        nearly_flat = largest - start <= _NEARLY_FLAT
        return Smoothed(log_ratios, -math.inf if nearly_flat else math.inf)
    # The others come back with a rounding error of the largest.
    return Smoothed(np.where(log_ratios > start, smoothed, log_ratios), float(khat))


def _tail_start(log_ratios: Floats) -> float:
    """The log-ratio below the ``min(n / 5, 3 sqrt(n))`` largest, which are the tail."""
    n = len(log_ratios)
    tail = math.ceil(min(n / 5, 3 * math.sqrt(n)))
    return float(np.partition(log_ratios, n - tail - 1)[n - tail - 1])
