"""Draws chosen in proportion to their weights."""

import numpy as np
from numpy.typing import NDArray

from flowkit_core import checks
from flowkit_core.diagnostics.psis import Floats


def resampled_rows(
    log_weights: Floats, num_draws: int, *, rng: np.random.Generator, replace: bool = True
) -> NDArray[np.int64]:
    """Indices of ``num_draws`` draws, chosen with probability proportional to their weights.

    With replacement each is chosen independently. Without, one after the other among those left
    (as Gumbel-max does at once: the largest ``log w_i + g_i``, g_i standard Gumbel), which keeps
    the draws distinct, and is nearer to the unweighted draws the more of them are taken.

    Args:
        log_weights: (n,), up to a constant; -inf for a weight of zero.
        num_draws: how many.
        rng: source of randomness.
        replace: with replacement.

    Raises:
        ValueError: if all weights are zero, or if without replacement ``num_draws`` exceeds the
            number of draws with a positive weight.

    References:
        Rubin, "Using the SIR Algorithm to Simulate Posterior Distributions", 1988, section 2;
        Efraimidis, Spirakis, "Weighted Random Sampling with a Reservoir", 2006, algorithm A.

    Example:
        >>> rows = resampled_rows(np.log([0.5, 0.5, 1e-9]), 2, rng=np.random.default_rng(0))
        >>> bool((rows < 2).all())
        True
    """
    count = checks.positive_int("num_draws", num_draws)
    replace = checks.boolean("replace", replace)
    carrying = np.flatnonzero(log_weights > -np.inf)
    if not len(carrying):
        raise ValueError(
            "importance weights: expected at least one above zero, got none: the guide draws only "
            "where the model has no density, or where it is not a number"
        )
    logs = log_weights[carrying]
    if replace:
        cumulative = np.cumsum(np.exp(logs - logs.max()))
        # uniform() may be rounded up to the total, which lies beyond the last index.
        targets = rng.uniform(0.0, cumulative[-1], count)
        chosen = np.searchsorted(cumulative, targets, side="right").clip(max=len(logs) - 1)
    elif count > len(logs):
        raise ValueError(
            f"num_draws: expected at most {len(logs)}, the number of draws with a positive weight, "
            f"to draw without replacement, got {count}"
        )
    else:
        chosen = np.argsort(-(logs + rng.gumbel(size=len(logs))), kind="stable")[:count]
    rows: NDArray[np.int64] = carrying[chosen]
    return rows
