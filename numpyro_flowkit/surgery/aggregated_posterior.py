"""The aggregated posterior as a distribution."""

import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from flowkit_core.surgery import MEMORY_LIMIT, check_memory_limit
from numpyro_flowkit.surgery.draws import log_aggregate
from numpyro_flowkit.surgery.posterior import Posterior


class AggregatedPosterior(dist.Distribution):
    """``q(z) = (1/n) sum_i q(z | x_i)`` as a distribution; made by `aggregated_posterior`.

    Draws take a data point at random and draw from its posterior. They have no derivatives by that
    choice; the log-density has, by z and by the posterior's parameters.
    """

    support = constraints.real_vector
    pytree_data_fields = ("parts",)
    pytree_aux_fields = ("memory_limit",)

    def __init__(
        self, posterior: Posterior, memory_limit: int, *, validate_args: bool | None = None
    ) -> None:
        self.parts = tuple(posterior.parts)
        self.memory_limit = memory_limit
        super().__init__((), (posterior.dim,), validate_args=validate_args)

    @property
    def posterior(self) -> Posterior:
        """The posteriors of all data points."""
        return Posterior(self.parts)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of shape ``sample_shape + (d,)``."""
        draws = self.posterior.sample_at_random(key, math.prod(sample_shape))
        return jax.lax.stop_gradient(draws.reshape(*sample_shape, *self.event_shape))

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log-density in nats, in the value's dtype; n densities for each value."""
        found = log_aggregate(self.posterior, value, self.memory_limit, False)
        return found.astype(jnp.result_type(value))


def aggregated_posterior(
    posterior: dist.Distribution | Iterable[dist.Distribution], *, memory_limit: int = MEMORY_LIMIT
) -> AggregatedPosterior:
    """The aggregated posterior ``q(z) = (1/n) sum_i q(z | x_i)`` as a distribution.

    It is the prior with the largest ELBO for a given encoder and decoder; as a prior in training
    it makes the marginal KL zero, at the cost of n densities for each draw.

    Shapes: event (d,), no batch.

    Cost: a draw takes one draw of one posterior (of a posterior that is no Gaussian: a draw of all
    n); scoring takes n densities, as `aggregate_log_prob`.

    Args:
        posterior: one distribution with a row for each data point, batch shape (n,) and event shape
            (d,), or an iterable of such, which is read once.
        memory_limit: bytes for a tile of pairs.

    Returns:
        A distribution that can stand in models, in plates too, and a pytree.

    Raises:
        TypeError: for something that is no distribution.
        ValueError: for shapes that do not fit.

    References:
        Hoffman, Johnson, "ELBO surgery", 2016, section 3; Tomczak, Welling, "VAE with a VampPrior",
        2018, equation 8.

    Example:
        >>> import numpyro
        >>> means = jax.random.normal(jax.random.key(0), (100, 2))
        >>> prior = aggregated_posterior(dist.Normal(means, 1.0).to_event(1))
        >>> with numpyro.handlers.seed(rng_seed=0), numpyro.plate("data", 5):
        ...     z = numpyro.sample("z", prior)
        >>> z.shape, prior.log_prob(z).shape
        ((5, 2), (5,))
    """
    return AggregatedPosterior(Posterior(posterior), check_memory_limit(memory_limit))
