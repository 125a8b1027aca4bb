"""Surgery latent by latent: total correlation, marginal KLs, active units."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from flowkit_core.surgery import (
    MEMORY_LIMIT,
    LatentSurgery,
    SurgerySettings,
    check_draws,
    check_factorises,
    check_prior,
    latent_surgery_of_terms,
)
from pyro_flowkit.bases.base import lent_generator
from pyro_flowkit.surgery.draws import log_aggregate
from pyro_flowkit.surgery.gaussian_pairs import DiagonalPairs, gaussian_params
from pyro_flowkit.surgery.posterior import Posterior


@torch.no_grad()
def latent_surgery(
    posterior: Distribution | Iterable[Distribution],
    prior: Distribution,
    *,
    num_samples: int = 1,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
    generator: torch.Generator | None = None,
) -> LatentSurgery:
    """Take average and marginal KL apart, latent by latent.

    ``KL(q(z) || p) = TC + sum_d KL(q(z_d) || p(z_d))`` with the total correlation
    ``TC = KL(q(z) || prod_d q(z_d))`` of the aggregated posterior::

        found = latent_surgery(encoder(images), prior)
        print(found)  # a row for each latent, and which of them are active

    Cost: that of `elbo_surgery` with method "exact", and d times that of a single latent.

    Args:
        posterior: as for `elbo_surgery`, of Gaussians, diagonal or full.
        prior: of independent latents: an ``Independent`` of d univariate distributions.
        num_samples: draws for each data point.
        memory_limit: as for `elbo_surgery`.
        progress: show a progress bar of pairs.
        generator: source of randomness; torch's own by default.

    Returns:
        `LatentSurgery`.

    Raises:
        TypeError: for posteriors or priors whose latents cannot be told apart.
        ValueError: as `elbo_surgery`.

    References:
        Chen, Li, Grosse, Duvenaud, "Isolating Sources of Disentanglement in VAEs", 2018, equation
        2; Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.2.

    Example:
        >>> from pyro.distributions import Normal
        >>> means = torch.randn(100, 1) * torch.tensor([1.0, 0.0])  # the second is unused
        >>> posterior = Normal(means, torch.tensor([0.1, 1.0])).to_event(1)
        >>> latent_surgery(posterior, Normal(torch.zeros(2), 1.0).to_event(1)).active
        (True, False)
    """
    settings = SurgerySettings(num_samples, "exact", None, memory_limit, progress)
    rows = Posterior(posterior)
    check_prior(prior, Distribution, rows.dim)
    factor = prior.base_dist if isinstance(prior, Independent) else prior
    factorises = isinstance(prior, Independent) and not factor.event_shape
    check_factorises("prior", type(prior).__name__, factorises)
    loc, scale = _marginals(rows)
    with lent_generator(generator):
        z = rows.sample(num_samples)
    check_draws((~torch.isfinite(z).all(-1).all(0)).cpu().numpy())
    own, marginals = [], []
    for d in range(rows.dim):
        normal = torch.distributions.Normal(loc[:, d : d + 1], scale[:, d : d + 1])
        one = Posterior(Independent(normal, 1))
        own.append(one.log_prob(z[..., d : d + 1]))
        marginals.append(log_aggregate(one, z[..., d : d + 1], memory_limit, settings.progress))
    terms = (
        log_aggregate(rows, z, memory_limit, settings.progress),
        torch.stack(own, -1),
        factor.log_prob(z).to(torch.float64),
        torch.stack(marginals, -1),
        loc.to(torch.float64),
    )
    return latent_surgery_of_terms(*(term.cpu().numpy() for term in terms))


def _marginals(posterior: Posterior) -> tuple[Tensor, Tensor]:
    """Mean and sd of each latent of each data point, (n, d)."""
    locs, scales = [], []
    for part in posterior.parts:
        found = gaussian_params(part)
        check_factorises("posterior", type(part).__name__, found is not None)
        if found is not None:
            kind, (loc, scale) = found
            locs.append(loc)
            scales.append(scale if kind is DiagonalPairs else scale.square().sum(-1).sqrt())
    return torch.cat(locs), torch.cat(scales)
