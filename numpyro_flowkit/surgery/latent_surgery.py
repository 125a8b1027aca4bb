"""Surgery latent by latent: total correlation, marginal KLs, active units."""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions.distribution import ExpandedDistribution

from flowkit_core.surgery import (
    MEMORY_LIMIT,
    LatentSurgery,
    SurgerySettings,
    check_draws,
    check_factorises,
    check_prior,
    latent_surgery_of_terms,
)
from numpyro_flowkit.surgery.draws import log_aggregate
from numpyro_flowkit.surgery.gaussian_pairs import DiagonalPairs, gaussian_params
from numpyro_flowkit.surgery.posterior import Posterior


def latent_surgery(
    posterior: dist.Distribution | Iterable[dist.Distribution],
    prior: dist.Distribution,
    *,
    rng_key: Array,
    num_samples: int = 1,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
) -> LatentSurgery:
    """Take average and marginal KL apart, latent by latent.

    ``KL(q(z) || p) = TC + sum_d KL(q(z_d) || p(z_d))`` with the total correlation
    ``TC = KL(q(z) || prod_d q(z_d))`` of the aggregated posterior::

        found = latent_surgery(encoder(images), prior, rng_key=key)
        print(found)  # a row for each latent, and which of them are active

    Cost: that of `elbo_surgery` with method "exact", and d times that of a single latent.

    Args:
        posterior: as for `elbo_surgery`, of Gaussians, diagonal or full.
        prior: of independent latents: an ``Independent`` of d univariate distributions.
        rng_key: of the draws.
        num_samples: draws for each data point.
        memory_limit: as for `elbo_surgery`.
        progress: show a progress bar of pairs.

    Returns:
        `LatentSurgery`.

    Raises:
        TypeError: for posteriors or priors whose latents cannot be told apart.
        ValueError: as `elbo_surgery`.

    References:
        Chen, Li, Grosse, Duvenaud, "Isolating Sources of Disentanglement in VAEs", 2018, equation
        2; Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.2.

    Example:
        >>> import jax
        >>> from numpyro.distributions import Normal
        >>> key = jax.random.key(0)
        >>> means = jax.random.normal(key, (100, 1)) * jnp.array([1.0, 0.0])  # one is unused
        >>> posterior = Normal(means, jnp.array([0.1, 1.0])).to_event(1)
        >>> prior = Normal(jnp.zeros(2), 1.0).to_event(1)
        >>> latent_surgery(posterior, prior, rng_key=key).active
        (True, False)
    """
    settings = SurgerySettings(num_samples, "exact", None, memory_limit, progress)
    rows = Posterior(posterior)
    check_prior(prior, dist.Distribution, rows.dim)
    factor = prior
    while isinstance(factor, dist.Independent | ExpandedDistribution):
        factor = factor.base_dist
    factorises = isinstance(prior, dist.Independent) and not factor.event_shape
    check_factorises("prior", type(prior).__name__, factorises)
    loc, scale = _marginals(rows)
    z = rows.sample(rng_key, num_samples)
    check_draws(~np.isfinite(np.asarray(z)).all(-1).all(0))
    own, marginals = [], []
    for d in range(rows.dim):
        normal = dist.Normal(loc[:, d : d + 1], scale[:, d : d + 1])
        one = Posterior(normal.to_event(1))
        own.append(one.log_prob(z[..., d : d + 1]))
        marginals.append(log_aggregate(one, z[..., d : d + 1], memory_limit, settings.progress))
    wide = (
        np.stack([np.asarray(one, np.float64) for one in part], -1) for part in (own, marginals)
    )
    of_own, of_marginals = wide
    aggregate = log_aggregate(rows, z, memory_limit, settings.progress)
    return latent_surgery_of_terms(
        np.asarray(aggregate, np.float64), of_own, np.asarray(factor.log_prob(z), np.float64),
        of_marginals, np.asarray(loc, np.float64),
    )  # fmt: skip


def _marginals(posterior: Posterior) -> tuple[Array, Array]:
    """Mean and sd of each latent of each data point, (n, d)."""
    locs, scales = [], []
    for part in posterior.parts:
        found = gaussian_params(part)
        check_factorises("posterior", type(part).__name__, found is not None)
        if found is not None:
            kind, (loc, scale) = found
            locs.append(loc)
            scales.append(scale if kind is DiagonalPairs else jnp.sqrt((scale**2).sum(-1)))
    return jnp.concatenate(locs), jnp.concatenate(scales)
