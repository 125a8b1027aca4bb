"""The ELBO's terms: reconstruction, average KL, mutual information, marginal KL."""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from flowkit_core.surgery import (
    MEMORY_LIMIT,
    Bounds,
    ElboSurgery,
    Estimate,
    SurgerySettings,
    check_log_likelihood,
    check_prior,
)
from numpyro_flowkit.surgery.draws import surgery_of_draws
from numpyro_flowkit.surgery.posterior import Posterior

LogLikelihood = Callable[[Array, slice], Array]


def elbo_surgery(
    posterior: dist.Distribution | Iterable[dist.Distribution],
    prior: dist.Distribution,
    *,
    rng_key: Array,
    log_likelihood: LogLikelihood | None = None,
    num_samples: int = 1,
    method: str = "exact",
    num_others: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
) -> ElboSurgery:
    """Take the ELBO of n data points apart, with a standard error for each term.

    ``(1/n) sum_i KL(q(z | x_i) || p) = I(n; z) + KL(q(z) || p)`` with the aggregated posterior
    ``q(z) = (1/n) sum_i q(z | x_i)``. The same draws serve all terms, so the identity holds to
    rounding::

        found = elbo_surgery(encoder(images), prior, rng_key=key, num_samples=4)
        print(found)

    Method "exact" compares every draw with all n data points; what remains is Monte Carlo error.
    "bounds" compares it with ``num_others`` drawn at random, for a lower and an upper bound of the
    mutual information, and of the marginal KL. (Minibatch-weighted sampling and population
    leave-one-out are not offered: the former is off by up to log n nats, the latter explodes where
    the information is large, and neither bounds what it estimates.)

    Shapes: posterior (n,) and (d,); prior () and (d,). All results are in nats per data point.

    Cost: exact, ``num_samples n^2`` densities: for Gaussians a matrix product of ``2 d`` numbers
    per pair (``d (d + 3) / 2`` for full covariance), else the posterior's own ``log_prob``. Bounds,
    ``num_samples n num_others``. Computed in float64, within ``memory_limit``.

    Several devices: where arrays of the posterior are spread over a mesh, or the points are, the
    pairs are divided among its devices by points, each of which sees all posteriors, with
    ``memory_limit`` for each device. In a trace (``jit``, ``grad``) the compiler decides.

    Stability: where Gaussians are so narrow that the product's rounding would exceed 1e-6 nats,
    the pairs are evaluated by differences.

    Args:
        posterior: one distribution with a row for each data point, or an iterable of such, one for
            each batch of an encoder, which is read once.
        prior: a single distribution.
        rng_key: of the draws and of the choice of others.
        log_likelihood: ``log_likelihood(z, rows)`` gives ``log p(x_i | z_i)``, (num_samples, b), of
            draws z (num_samples, b, d) of the data points ``rows``, a slice; it is called once for
            each batch. Without it there is neither reconstruction nor ELBO.
        num_samples: draws for each data point. With several the standard errors are those of the
            draws alone; with one they hold the spread between data points, too.
        method: "exact" or "bounds".
        num_others: for "bounds"; 255 by default, or all if those are fewer.
        memory_limit: bytes for a tile of pairs.
        progress: show a progress bar of pairs.

    Returns:
        `ElboSurgery`.

    Raises:
        TypeError: for something that is no distribution.
        ValueError: for shapes that do not fit, draws or densities that are NaN, a method of another
            name, more others than there are, or a limit too small for one tile.

    References:
        Hoffman, Johnson, "ELBO surgery", 2016, equations 4 to 7; Poole, Ozair, van den Oord, Alemi,
        Tucker, "On Variational Bounds of Mutual Information", 2019, section 2.3 (lower bound).

    Example:
        >>> from numpyro.distributions import Normal
        >>> far_apart = Normal(100 * jnp.arange(8.0)[:, None], jnp.ones((8, 1))).to_event(1)
        >>> prior = Normal(jnp.zeros(1), jnp.full(1, 300.0)).to_event(1)
        >>> found = elbo_surgery(far_apart, prior, rng_key=jax.random.key(0))
        >>> abs(found.mutual_information.value - found.log_n) < 1e-6
        True
    """
    settings = SurgerySettings(num_samples, method, num_others, memory_limit, progress)
    return surgery_of(Posterior(posterior), prior, settings, log_likelihood, rng_key)


def mutual_information(
    posterior: dist.Distribution | Iterable[dist.Distribution],
    *,
    rng_key: Array,
    num_samples: int = 1,
    method: str = "exact",
    num_others: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
) -> Estimate | Bounds:
    """Mutual information of z and the index of the data point, ``E log q(z | x_i) / q(z)``.

    Between 0 and log n nats; unchanged by any bijection of z that all data points share. Arguments,
    cost and errors are those of `elbo_surgery`.

    Example:
        >>> from numpyro.distributions import Normal
        >>> all_the_same = Normal(jnp.zeros((8, 1)), jnp.ones((8, 1))).to_event(1)
        >>> abs(mutual_information(all_the_same, rng_key=jax.random.key(0)).value) < 1e-12
        True
    """
    settings = SurgerySettings(num_samples, method, num_others, memory_limit, progress)
    rows = Posterior(posterior)
    of_draws, of_others = jax.random.split(rng_key)
    z = rows.sample(of_draws, settings.num_samples)
    # Whatever the prior, the information is the same.
    found = surgery_of_draws(rows, z, jnp.zeros(z.shape[:2]), None, settings, of_others)
    return found.mutual_information


def marginal_kl(
    posterior: dist.Distribution | Iterable[dist.Distribution],
    prior: dist.Distribution,
    *,
    rng_key: Array,
    num_samples: int = 1,
    method: str = "exact",
    num_others: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
) -> Estimate | Bounds:
    """``KL(q(z) || p)`` of the aggregated posterior: what the best prior would gain, in nats.

    Arguments, cost and errors are those of `elbo_surgery`.

    Example:
        >>> from numpyro.distributions import Normal
        >>> posterior = Normal(jnp.zeros((8, 1)), jnp.ones((8, 1))).to_event(1)
        >>> prior = Normal(jnp.zeros(1), jnp.ones(1)).to_event(1)
        >>> abs(marginal_kl(posterior, prior, rng_key=jax.random.key(0)).value) < 1e-6
        True
    """
    found = elbo_surgery(
        posterior, prior, num_samples=num_samples, method=method, num_others=num_others,
        memory_limit=memory_limit, progress=progress, rng_key=rng_key,
    )  # fmt: skip
    return found.marginal_kl


def surgery_of(
    posterior: Posterior,
    prior: dist.Distribution,
    settings: SurgerySettings,
    log_likelihood: LogLikelihood | None,
    rng_key: Array,
) -> ElboSurgery:
    """`elbo_surgery` with checked arguments."""
    check_prior(prior, dist.Distribution, posterior.dim)
    of_draws, of_others = jax.random.split(rng_key)
    z = posterior.sample(of_draws, settings.num_samples)
    found = []
    for rows in posterior.rows() if log_likelihood is not None else ():
        part = log_likelihood(z[:, rows], rows)  # type: ignore[misc]
        check_log_likelihood(part.shape, z[:, rows].shape[:-1])
        found.append(part)
    likelihood = jnp.concatenate(found, 1) if found else None
    return surgery_of_draws(posterior, z, prior.log_prob(z), likelihood, settings, of_others)
