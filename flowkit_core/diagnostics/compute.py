"""From importance ratios and draws to `GuideDiagnostics`."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowkit_core import checks
from flowkit_core.diagnostics.psis import MIN_DRAWS, Floats, khat_threshold, smooth
from flowkit_core.diagnostics.result import GuideDiagnostics, ParameterComparison
from flowkit_core.entries import entry_names


@np.errstate(over="ignore", invalid="ignore")  # of numbers that are not finite, told as such
def diagnose_draws(log_ratios: ArrayLike, draws: Mapping[str, ArrayLike]) -> GuideDiagnostics:
    """What draws of a guide q, and their importance ratios, say about it.

    With ``r_i = p(x_i, data) / q(x_i)`` and smoothed ratios s_i (`smooth`)::

        ELBO          mean_i log r_i
        log evidence  log mean_i s_i
        weights       w_i = s_i / sum_j s_j
        ESS           1 / sum_i w_i^2

    Args:
        log_ratios: log r_i, (n,), nats. -inf, a draw at which the model has no density, is a
            weight of zero. A draw with NaN or +inf is left out of all numbers, counted in
            ``num_invalid``, and makes khat infinite, so that the verdict is not to trust.
        draws: values (n, ...) of each parameter, as the model has them.

    Returns:
        `GuideDiagnostics`, whatever the ratios are: of weights that are good for nothing it says
        just that.

    Cost: a sort of the ratios and a pass over the draws, in float64.

    Stability: ratios of any size, since only their differences are exponentiated. The standard
    error of the log-evidence is ``sqrt((n / ESS - 1) / (n - 1))`` (delta method); it holds no
    longer than the weights have a variance, khat < 1/2, and means nothing above the threshold.

    Raises:
        ValueError: for fewer than 100 draws, or arrays whose lengths differ.
        ImportError: without arviz.

    References:
        Yao, Vehtari, Simpson, Gelman, "Yes, but Did It Work?: Evaluating Variational Inference",
        2018, section 3.1; Vehtari et al., "Pareto Smoothed Importance Sampling", 2024.

    Example:
        >>> x = np.random.default_rng(0).normal(size=1000)
        >>> result = diagnose_draws(np.full(1000, -3.0), {"x": x})
        >>> result.elbo, result.log_evidence, result.level
        (-3.0, -3.0, 'good')
    """
    ratios = _checked_ratios(log_ratios)
    n = len(ratios)
    arrays = {name: _checked_values(name, values, n) for name, values in draws.items()}
    valid = ratios < math.inf  # nor NaN
    used = ratios[valid]
    smoothed, khat = smooth(used) if len(used) else (used, math.inf)
    largest = float(smoothed.max(initial=-math.inf))
    log_weights = np.full(n, -math.inf)
    log_evidence = -math.inf if len(used) else math.nan
    if largest > -math.inf:
        # Relative to the largest, so that ratios of 1e5 nats lose no digits in the weights.
        log_sum = math.log(np.exp(smoothed - largest).sum())
        log_weights[valid] = (smoothed - largest) - log_sum
        log_evidence = largest + (log_sum - math.log(len(used)))
    weights = np.exp(log_weights)
    ess = 1 / float(weights @ weights) if weights.any() else 0.0
    elbo, elbo_stderr = _mean_and_error(used)
    return GuideDiagnostics(
        elbo=elbo,
        elbo_stderr=elbo_stderr,
        log_evidence=log_evidence,
        log_evidence_stderr=_evidence_error(len(used), ess),
        khat=khat if valid.all() else math.inf,
        khat_threshold=khat_threshold(n),
        ess=ess,
        num_samples=n,
        num_zero_density=int((used == -math.inf).sum()),
        num_invalid=n - len(used),
        parameters=tuple(c for name, a in arrays.items() for c in _compared(name, a, weights)),
        log_ratios=ratios,
        log_weights=log_weights,
        draws=arrays,
    )


def check_num_samples(num_samples: object) -> int:
    """Return a number of draws that a diagnosis can be made from, or raise.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is below 100.
    """
    return checks.int_at_least("num_samples", num_samples, MIN_DRAWS)


def _checked_ratios(log_ratios: ArrayLike) -> Floats:
    ratios = np.array(log_ratios, np.float64)
    if ratios.ndim != 1:
        raise ValueError(f"log_ratios: expected shape (n,), got {ratios.shape}")
    if len(ratios) < MIN_DRAWS:
        raise ValueError(
            f"log_ratios: expected at least {MIN_DRAWS} draws, got {len(ratios)}; fewer say "
            "nothing about the tail of the weights"
        )
    return ratios


def _checked_values(name: str, values: ArrayLike, n: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 0 or len(array) != n:
        raise ValueError(
            f"draws[{name!r}]: expected {n} draws, as many as there are log_ratios, got shape "
            f"{array.shape}"
        )
    return array


def _mean_and_error(values: Floats) -> tuple[float, float]:
    """Mean and its standard error; of values among which is -inf, that and NaN."""
    if len(values) < 2:
        return (float(values[0]) if len(values) else math.nan), math.nan
    if values.min() == -math.inf:
        return -math.inf, math.nan
    # About the first value, so that equal values have a spread of exactly zero.
    offsets = values - values[0]
    error = offsets.std(ddof=1) / math.sqrt(len(values))
    return float(values[0] + offsets.mean()), float(error)


def _evidence_error(n: int, ess: float) -> float:
    """Standard error of ``log mean w``: ``sd(w) / (mean(w) sqrt(n))``."""
    if n < 2 or ess == 0:
        return math.nan
    return math.sqrt(max(n / ess - 1, 0.0) / (n - 1))


def _compared(name: str, values: NDArray[Any], weights: Floats) -> list[ParameterComparison]:
    """Moments of every entry of a parameter, raw and weighted."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    carrying = weights > 0  # a weight of zero times an infinite value is no number
    mean, sd = flat.mean(0), flat.std(0, ddof=1)
    # About the raw mean, or else digits are lost where that is large.
    offsets, w = flat[carrying] - mean, weights[carrying]
    shift = w @ offsets if len(w) else np.full_like(mean, math.nan)
    variance = w @ (offsets - shift) ** 2 if len(w) else np.full_like(mean, math.nan)
    return [
        ParameterComparison(
            name=entry,
            raw_mean=float(mean[i]),
            smoothed_mean=float(mean[i] + shift[i]),
            raw_sd=float(sd[i]),
            smoothed_sd=math.sqrt(variance[i]),
        )
        for i, entry in enumerate(entry_names(name, values.shape[1:]))
    ]
