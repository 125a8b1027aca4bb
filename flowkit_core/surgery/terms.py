"""From log-densities of draws to the terms of an ELBO."""

import numpy as np

from flowkit_core.surgery.estimate import (
    Bounds,
    Estimate,
    Floats,
    mean_over_neighbours,
    mean_over_rows,
)
from flowkit_core.surgery.result import ElboSurgery


def surgery_of_terms(
    own: Floats,
    prior: Floats,
    *,
    aggregate: Floats | None = None,
    others: Floats | None = None,
    num_others: int = 0,
    log_likelihood: Floats | None = None,
    means: Floats | None = None,
    draws: Floats | None = None,
) -> ElboSurgery:
    """The surgery of draws z (num_samples, n) with these log-densities, each (num_samples, n).

    Args:
        own: ``log q(z | x_i)`` of the draw's own data point i.
        prior: ``log p(z)``.
        aggregate: ``log q(z)`` over all data points: the exact terms.
        others: instead, ``logsumexp_j log q(z | x_j)`` over ``num_others`` other data points, drawn
            without replacement: bounds. Rows next to each other share them.
        num_others: how many.
        log_likelihood: ``log p(x_i | z)``.
        means: kept in the result.
        draws: kept in the result.

    Example:
        >>> own, prior = np.zeros((1, 4)), np.full((1, 4), -1.0)
        >>> surgery_of_terms(own, prior, aggregate=own).marginal_kl.value
        1.0
    """
    samples, rows = own.shape
    information: Estimate | Bounds
    marginal: Estimate | Bounds
    if aggregate is not None:
        information, marginal = mean_over_rows(own - aggregate), mean_over_rows(aggregate - prior)
    elif others is not None:
        information, marginal = bounds_of_terms(own, prior, others, num_others)
    else:
        raise ValueError("expected log q(z) over all data points or over others, got neither")
    return ElboSurgery(
        reconstruction=None if log_likelihood is None else mean_over_rows(log_likelihood),
        avg_kl=mean_over_rows(own - prior),
        mutual_information=information,
        marginal_kl=marginal,
        elbo=None if log_likelihood is None else mean_over_rows(log_likelihood - own + prior),
        num_data=rows,
        num_samples=samples,
        dim=0 if draws is None else draws.shape[-1],
        means=means,
        draws=draws,
    )


def bounds_of_terms(
    own: Floats, prior: Floats, others: Floats, num_others: int
) -> tuple[Bounds, Bounds]:
    """Bounds of the mutual information and of the marginal KL; arguments as above.

    Example:
        >>> alone = np.full((1, 1), -np.inf)  # n = 1: there are no others
        >>> information, _ = bounds_of_terms(np.zeros((1, 1)), np.zeros((1, 1)), alone, 0)
        >>> information.lower.value, information.upper.value
        (0.0, 0.0)
    """
    # log q(z) too large makes the information too small and the marginal KL too large.
    large = uniform_with_own(own, others, num_others)
    small = stratified(own, others, num_others)
    reach = num_others + 1

    def bounds(low: Floats, high: Floats) -> Bounds:
        return Bounds(mean_over_neighbours(low, reach), mean_over_neighbours(high, reach))

    return bounds(own - large, own - small), bounds(small - prior, large - prior)


def uniform_with_own(own: Floats, others: Floats, num_others: int) -> Floats:
    """``log q(z)`` from the own data point and M others, with equal weights 1 / (M + 1).

    ``logaddexp(own, others) - log(M + 1)``. The own posterior counts for more than its share, so
    ``E[own - this]`` is a lower bound of the mutual information, at most log(M + 1) (InfoNCE with
    the true density: van den Oord, Li, Vinyals 2018; Poole et al. 2019, section 2.3).

    Example:
        >>> uniform_with_own(np.zeros(1), np.log([3.0]), 3).round(12)
        array([0.])
    """
    return np.asarray(np.logaddexp(own, others) - np.log(num_others + 1))


def stratified(own: Floats, others: Floats, num_others: int, num_data: int | None = None) -> Floats:
    """``log q(z)`` from the own data point, weight 1/n, and M others that stand for the rest.

    ``logaddexp(own - log n, log((n - 1) / n) + others - log M)``: the log of an unbiased estimate
    of q(z), which therefore is too small on average (Jensen). ``E[own - this]`` is an upper bound
    of the mutual information, exact for M = n - 1.

    Example:
        >>> stratified(np.zeros(1), np.log([9.0]), 9, num_data=10).round(12) + 0.0
        array([0.])
    """
    n = own.shape[-1] if num_data is None else num_data
    if num_others == 0:  # n = 1: there is nothing but the own one
        return np.asarray(own - np.log(n))
    rest = np.log(n - 1) - np.log(n) + others - np.log(num_others)
    return np.asarray(np.logaddexp(own - np.log(n), rest))
