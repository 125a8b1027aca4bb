"""Held-out log-likelihood of a model by importance weights of its guide's draws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flowkit_core import checks
from flowkit_core.surgery import Estimate, batches_of, log_mean_weights, mean_over_rows
from pyro_flowkit.bases.base import lent_generator
from pyro_flowkit.surgery.elbo_surgery_of import read_sites


@torch.no_grad()
def importance_log_likelihood_of(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any,
    *,
    latent: str = "z",
    batch_size: int = 512,
    num_particles: int = 500,
    generator: torch.Generator | None = None,
) -> Estimate:
    """Log-likelihood of data that model and guide have not seen, in nats per data point.

    ``(1/n) sum_i log (1/K) sum_k p(x_i, z_k) / q(z_k | x_i)``: on average a lower bound, above the
    ELBO and the closer to ``log p(x)`` the more particles K there are. The standard error is that
    of the data points as a sample of their population.

    Cost: the model K times for each data point, the guide once.

    Args:
        model: as for `elbo_surgery_of`.
        guide: as for `elbo_surgery_of`.
        data: as for `elbo_surgery_of`.
        latent: name of the site.
        batch_size: rows of a batch, where the data are arrays.
        num_particles: K.
        generator: source of randomness; torch's own by default.

    Returns:
        An `Estimate`.

    Raises:
        TypeError: as `elbo_surgery_of`.
        ValueError: as `elbo_surgery_of`.

    References:
        Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2016, equation 8.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        ...         pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
        >>> def posterior(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))
        >>> x = 2**0.5 * torch.randn(100, 1)
        >>> found = importance_log_likelihood_of(model, posterior, x, num_particles=5)
        >>> exact = dist.Normal(0.0, 2**0.5).log_prob(x).mean().item()
        >>> abs(found.value - exact) < 1e-5
        True
    """
    found = log_likelihoods_of(
        model, guide, data, latent=latent, batch_size=batch_size, num_particles=num_particles,
        generator=generator,
    )  # fmt: skip
    return mean_over_rows(found[None])


@torch.no_grad()
def log_likelihoods_of(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any,
    *,
    latent: str,
    batch_size: int,
    num_particles: int,
    generator: torch.Generator | None = None,
) -> NDArray[np.float64]:
    """The same for each data point, (n,), as a paired comparison of two models needs it."""
    size = checks.positive_int("batch_size", batch_size)
    count = checks.positive_int("num_particles", num_particles)
    parts = []
    with lent_generator(generator):
        for batch in batches_of(data, size):
            posterior, z, prior, likelihood = read_sites(model, guide, batch, latent, count)
            log_weights = prior + likelihood - posterior.log_prob(z)
            parts.append(log_mean_weights(log_weights.to(torch.float64).cpu().numpy()))
    if not parts:
        raise ValueError("data: expected at least one batch, got none")
    return np.concatenate(parts)
