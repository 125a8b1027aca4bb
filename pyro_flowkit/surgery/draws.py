"""From draws of all posteriors to the terms of the ELBO."""

import math

import torch
from torch import Tensor

from flowkit_core.fitting.progress import progress_bar
from flowkit_core.surgery import ElboSurgery, SurgerySettings, check_draws, surgery_of_terms
from pyro_flowkit.surgery.posterior import Posterior


def surgery_of_draws(
    posterior: Posterior,
    z: Tensor,
    log_prior: Tensor,
    log_likelihood: Tensor | None,
    settings: SurgerySettings,
) -> ElboSurgery:
    """The surgery of draws z (num_samples, n, d) whose densities elsewhere are known.

    Args:
        posterior: where they come from.
        z: the draws.
        log_prior: ``log p(z)``, (num_samples, n).
        log_likelihood: ``log p(x | z)``, (num_samples, n), if there is a likelihood.
        settings: what to do.
    """
    bad = ~torch.isfinite(z).all(-1).all(0)
    check_draws(bad.cpu().numpy())
    columns = [
        posterior.log_prob(z),
        log_prior,
        *([] if log_likelihood is None else [log_likelihood]),
    ]
    aggregate = others = None
    num_others = 0
    if settings.method == "exact":
        aggregate = log_aggregate(posterior, z, settings.memory_limit, settings.progress)
    else:
        num_others = settings.others_of(posterior.num_data)
        order = torch.randperm(posterior.num_data, device=z.device)
        others = _log_sum_over_next(posterior, z, order, num_others, settings.progress)
        # Rows that share others are to lie next to each other.
        columns = [column[:, order] for column in columns]
    own, prior, *likelihood = (c.to(torch.float64).cpu().numpy() for c in columns)
    return surgery_of_terms(
        own, prior, num_others=num_others,
        aggregate=None if aggregate is None else aggregate.cpu().numpy(),
        others=None if others is None else others.cpu().numpy(),
        log_likelihood=likelihood[0] if likelihood else None,
        means=posterior.means(z).to(torch.float64).cpu().numpy(),
        draws=z[0].to(torch.float64).cpu().numpy(),
    )  # fmt: skip


def log_aggregate(posterior: Posterior, z: Tensor, memory_limit: int, progress: bool) -> Tensor:
    """``log q(z)``, float64, of points (..., d), from all data points."""
    flat = z.reshape(-1, z.shape[-1])
    with progress_bar(progress, len(flat) * posterior.num_data, 0, unit=" pairs") as bar:
        total = posterior.log_sum(flat, memory_limit=memory_limit, progress=bar.update)
    return total.reshape(z.shape[:-1]) - math.log(posterior.num_data)


def _log_sum_over_next(
    posterior: Posterior, z: Tensor, order: Tensor, num_others: int, progress: bool
) -> Tensor:
    """``logsumexp_j log q(z_i | x_j)`` over the ``num_others`` rows j that follow i in a circle.

    The circle is a random order, so they are drawn without replacement. Rows of the result are in
    that order. Each step scores all rows, shifted by one more place, under their neighbours' own
    posteriors, so that any distribution will do.
    """
    count = posterior.num_data
    total = z.new_full(z.shape[:2], -torch.inf, dtype=torch.float64)
    with progress_bar(progress, num_others * count * len(z), 0, unit=" pairs") as bar:
        for step in range(1, num_others + 1):
            # z of the row that lies `step` places before, for each data point.
            before = torch.empty_like(order)
            before[order] = order.roll(step)
            scores = posterior.log_prob(z[:, before])
            total = torch.logaddexp(total, scores[:, order].roll(-step, 1))
            bar.update(count * len(z))
    return total
