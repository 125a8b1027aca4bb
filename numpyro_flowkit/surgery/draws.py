"""From draws of all posteriors to the terms of the ELBO."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from flowkit_core.fitting.progress import progress_bar
from flowkit_core.surgery import ElboSurgery, SurgerySettings, check_draws, surgery_of_terms
from numpyro_flowkit.surgery.posterior import Posterior


def surgery_of_draws(
    posterior: Posterior,
    z: Array,
    log_prior: Array,
    log_likelihood: Array | None,
    settings: SurgerySettings,
    rng_key: Array,
) -> ElboSurgery:
    """The surgery of draws z (num_samples, n, d) whose densities elsewhere are known.

    Args:
        posterior: where they come from.
        z: the draws.
        log_prior: ``log p(z)``, (num_samples, n).
        log_likelihood: ``log p(x | z)``, (num_samples, n), if there is a likelihood.
        settings: what to do.
        rng_key: of the choice of others.
    """
    check_draws(~np.isfinite(np.asarray(z)).all(-1).all(0))
    known = [
        posterior.log_prob(z),
        log_prior,
        *([] if log_likelihood is None else [log_likelihood]),
    ]
    columns = [np.asarray(column, np.float64) for column in known]
    aggregate = others = None
    num_others = 0
    if settings.method == "exact":
        found = log_aggregate(posterior, z, settings.memory_limit, settings.progress)
        aggregate = np.asarray(found, np.float64)
    else:
        num_others = settings.others_of(posterior.num_data)
        order = np.asarray(jax.random.permutation(rng_key, posterior.num_data))
        others = _log_sum_over_next(posterior, z, order, num_others, settings.progress)
        # Rows that share others are to lie next to each other.
        columns = [column[:, order] for column in columns]
    own, prior, *likelihood = columns
    return surgery_of_terms(
        own, prior, num_others=num_others, aggregate=aggregate, others=others,
        log_likelihood=likelihood[0] if likelihood else None,
        means=np.asarray(posterior.means(z), np.float64), draws=np.asarray(z[0], np.float64),
    )  # fmt: skip


def log_aggregate(posterior: Posterior, z: Array, memory_limit: int, progress: bool) -> Array:
    """``log q(z)``, float64, of points (..., d), from all data points."""
    flat = z.reshape(-1, z.shape[-1])
    with progress_bar(progress, len(flat) * posterior.num_data, 0, unit=" pairs") as bar:
        told = bar.update if progress else None
        total = posterior.log_sum(flat, memory_limit=memory_limit, progress=told)
    return posterior.average(total).reshape(z.shape[:-1])


def _log_sum_over_next(
    posterior: Posterior, z: Array, order: NDArray[np.int64], num_others: int, progress: bool
) -> NDArray[np.float64]:
    """``logsumexp_j log q(z_i | x_j)`` over the ``num_others`` rows j that follow i in a circle.

    The circle is a random order, so they are drawn without replacement. Rows of the result are in
    that order. Each step scores all rows, shifted by one more place, under their neighbours' own
    posteriors, so that any distribution will do.
    """
    count = posterior.num_data
    total = np.full(z.shape[:2], -np.inf)
    before = np.empty_like(order)
    with progress_bar(progress, num_others * count * len(z), 0, unit=" pairs") as bar:
        for step in range(1, num_others + 1):
            # z of the row that lies `step` places before, for each data point.
            before[order] = np.roll(order, step)
            scores = np.asarray(posterior.log_prob(jnp.take(z, before, axis=1)), np.float64)
            total = np.logaddexp(total, np.roll(scores[:, order], -step, 1))
            bar.update(count * len(z))
    return total
