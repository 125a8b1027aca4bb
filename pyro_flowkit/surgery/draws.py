"""From draws of all posteriors to the terms of the ELBO."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowkit_core.fitting.progress import progress_bar
from flowkit_core.surgery import ElboSurgery, SurgerySettings, check_draws, surgery_of_terms
from pyro_flowkit.surgery.posterior import Posterior
from pyro_flowkit.surgery.shards import all_draws


def surgery_of_draws(
    posterior: Posterior,
    z: Tensor,
    log_prior: Tensor,
    log_likelihood: Tensor | None,
    settings: SurgerySettings,
) -> ElboSurgery:
    """The surgery of draws z (num_samples, n, d) whose densities elsewhere are known.

    Of several processes each has those of its own data points, and all get the surgery of all.

    Args:
        posterior: where they come from.
        z: the draws.
        log_prior: ``log p(z)``, (num_samples, n).
        log_likelihood: ``log p(x | z)``, (num_samples, n), if there is a likelihood.
        settings: what to do.
    """
    group = posterior.group
    bad = ~torch.isfinite(z).all(-1).all(0)
    check_draws(np.concatenate(group.gathered(bad.cpu().numpy())))
    own = group.together(lambda: posterior.log_prob(z))
    columns = [own, log_prior, *([] if log_likelihood is None else [log_likelihood])]
    exact = settings.method == "exact"
    if exact:
        columns.append(log_aggregate(posterior, z, settings.memory_limit, settings.progress))
    known = [_of_all(posterior, column, 1) for column in columns]
    num_others = 0
    if not exact:
        num_others = settings.others_of(posterior.num_data)
        chosen = group.first(lambda: torch.randperm(posterior.num_data, device=z.device).cpu())
        others = _log_sum_over_next(posterior, z, chosen, num_others, settings.progress)
        # Rows that share others are to lie next to each other.
        known = [column[:, chosen.numpy()] for column in (*known, others.cpu().numpy())]
    own_terms, prior, *likelihood, total = known
    return surgery_of_terms(
        own_terms, prior, num_others=num_others,
        aggregate=total if exact else None, others=None if exact else total,
        log_likelihood=likelihood[0] if likelihood else None,
        means=_of_all(posterior, posterior.means(z), 0), draws=_of_all(posterior, z[0], 0),
    )  # fmt: skip


def _of_all(posterior: Posterior, own: Tensor, axis: int) -> NDArray[np.float64]:
    """What belongs to the data points of all processes, in float64."""
    return np.concatenate(posterior.group.gathered(own.to(torch.float64).cpu().numpy()), axis)


def log_aggregate(posterior: Posterior, z: Tensor, memory_limit: int, progress: bool) -> Tensor:
    """``log q(z)``, float64, of points (..., d), from all data points."""
    flat = z.reshape(-1, z.shape[-1])
    group = posterior.group
    # The first process's bar shows what it does itself.
    num_pairs = sum(group.gathered(len(flat))) * posterior.num_own
    with progress_bar(progress and group.rank == 0, num_pairs, 0, unit=" pairs") as bar:
        total = posterior.log_sum(flat, memory_limit=memory_limit, progress=bar.update)
    return total.reshape(z.shape[:-1]) - math.log(posterior.num_data)


def _log_sum_over_next(
    posterior: Posterior, z: Tensor, order: Tensor, num_others: int, progress: bool
) -> Tensor:
    """``logsumexp_j log q(z_i | x_j)`` over the ``num_others`` rows j that follow i in a circle.

    The circle is a random order, so they are drawn without replacement. Each step scores all rows,
    shifted by one more place, under their neighbours' own posteriors, so that any distribution
    will do.
    """
    group = posterior.group
    draws = all_draws(group, z)
    order = order.to(draws.device)
    total = draws.new_full(draws.shape[:2], -torch.inf, dtype=torch.float64)
    num_pairs = num_others * posterior.num_own * len(z)
    with progress_bar(progress and group.rank == 0, num_pairs, 0, unit=" pairs") as bar:
        for step in range(1, num_others + 1):
            # The row that lies `step` places before, for each data point, and for our own.
            before = torch.empty_like(order)
            before[order] = order.roll(step)
            scored = before[posterior.own]
            scores = posterior.log_prob(draws[:, scored])
            total[:, scored] = torch.logaddexp(total[:, scored], scores)
            bar.update(posterior.num_own * len(z))
    return group.log_sum(total)
