"""Held-out log-likelihood of a model by importance weights of its guide's draws."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from flowkit_core import checks
from flowkit_core.surgery import Estimate, batches_of, log_mean_weights, mean_over_rows
from numpyro_flowkit.surgery.compiled import compiled
from numpyro_flowkit.surgery.elbo_surgery_of import read_sites


def importance_log_likelihood_of(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    params: dict[str, Any],
    data: Any,
    *,
    rng_key: Array,
    latent: str = "z",
    batch_size: int = 512,
    num_particles: int = 500,
) -> Estimate:
    """Log-likelihood of data that model and guide have not seen, in nats per data point.

    ``(1/n) sum_i log (1/K) sum_k p(x_i, z_k) / q(z_k | x_i)``: on average a lower bound, above the
    ELBO and the closer to ``log p(x)`` the more particles K there are. The standard error is that
    of the data points as a sample of their population.

    Cost: the model K times for each data point, the guide once; compiled as for `elbo_surgery_of`.

    Args:
        model: as for `elbo_surgery_of`.
        guide: as for `elbo_surgery_of`.
        params: parameters of both.
        data: as for `elbo_surgery_of`.
        rng_key: of the draws.
        latent: name of the site.
        batch_size: rows of a batch, where the data are arrays.
        num_particles: K.

    Returns:
        An `Estimate`.

    Raises:
        TypeError: as `elbo_surgery_of`.
        ValueError: as `elbo_surgery_of`.

    References:
        Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2016, equation 8.

    Example:
        >>> import jax.numpy as jnp, numpyro, numpyro.distributions as dist
        >>> def model(x):
        ...     with numpyro.plate("data", len(x)):
        ...         z = numpyro.sample("z", dist.Normal(jnp.zeros(1), 1.0).to_event(1))
        ...         numpyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
        >>> def posterior(x):
        ...     with numpyro.plate("data", len(x)):
        ...         numpyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))
        >>> key = jax.random.key(0)
        >>> x = 2**0.5 * jax.random.normal(key, (100, 1))
        >>> found = importance_log_likelihood_of(
        ...     model, posterior, {}, x, rng_key=key, num_particles=5
        ... )
        >>> exact = dist.Normal(0.0, 2**0.5).log_prob(x).mean()
        >>> bool(abs(found.value - exact) < 1e-5)
        True
    """
    found = log_likelihoods_of(
        model, guide, params, data, rng_key=rng_key, latent=latent, batch_size=batch_size,
        num_particles=num_particles,
    )  # fmt: skip
    return mean_over_rows(found[None])


def log_likelihoods_of(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    params: dict[str, Any],
    data: Any,
    *,
    rng_key: Array,
    latent: str,
    batch_size: int,
    num_particles: int,
) -> NDArray[np.float64]:
    """The same for each data point, (n,), as a paired comparison of two models needs it."""
    size = checks.positive_int("batch_size", batch_size)
    count = checks.positive_int("num_particles", num_particles)
    log_weights = compiled(_log_weights, model, guide)
    parts = [
        log_weights(params, batch, jax.random.fold_in(rng_key, index), latent, count)
        for index, batch in enumerate(batches_of(data, size))
    ]
    if not parts:
        raise ValueError("data: expected at least one batch, got none")
    return np.concatenate([log_mean_weights(np.asarray(part, np.float64)) for part in parts])


def _log_weights(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    params: dict[str, Any],
    batch: tuple[Any, ...],
    key: Array,
    latent: str,
    num_particles: int,
) -> Array:
    """Log-weights (K, b) of the draws of a batch."""
    posterior, z, prior, likelihood = read_sites(
        model, guide, params, batch, key, latent, num_particles
    )
    return prior + likelihood - posterior.log_prob(z)
