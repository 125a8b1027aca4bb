"""The aggregated posterior as a distribution."""

from collections.abc import Iterable
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from flowkit_core.surgery import MEMORY_LIMIT, check_memory_limit
from pyro_flowkit.surgery.draws import log_aggregate
from pyro_flowkit.surgery.posterior import Posterior


class AggregatedPosterior(TorchDistribution):
    """``q(z) = (1/n) sum_i q(z | x_i)`` as a distribution; made by `aggregated_posterior`.

    Draws take a data point at random and draw from its posterior. They have no derivatives; the
    log-density has, by z and by the posterior's parameters.
    """

    arg_constraints: dict[str, Any] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(
        self, posterior: Posterior, memory_limit: int, *, validate_args: bool | None = None
    ) -> None:
        self.posterior = posterior
        self.memory_limit = memory_limit
        super().__init__(torch.Size(), torch.Size((posterior.dim,)), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "AggregatedPosterior":
        """The same distribution with another batch shape."""
        new: AggregatedPosterior = self._get_checked_instance(AggregatedPosterior, _instance)
        new.posterior, new.memory_limit = self.posterior, self.memory_limit
        super(AggregatedPosterior, new).__init__(
            torch.Size(batch_shape), self.event_shape, validate_args=False
        )
        new._validate_args = self._validate_args
        return new

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws of shape ``sample_shape + batch + (d,)``."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.posterior.sample_at_random(shape[:-1].numel()).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, in the value's dtype; n densities for each value."""
        if self._validate_args:
            self._validate_sample(value)
        found = log_aggregate(self.posterior, value, self.memory_limit, False).to(value.dtype)
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))


def aggregated_posterior(
    posterior: Distribution | Iterable[Distribution], *, memory_limit: int = MEMORY_LIMIT
) -> AggregatedPosterior:
    """The aggregated posterior ``q(z) = (1/n) sum_i q(z | x_i)`` as a distribution.

    It is the prior with the largest ELBO for a given encoder and decoder; as a prior in training
    it makes the marginal KL zero, at the cost of n densities for each draw.

    Shapes: event (d,), no batch.

    Cost: a draw takes one draw of one posterior (of a posterior that is no Gaussian: as many draws
    of all n as one of them is hit); scoring takes n densities, as `aggregate_log_prob`.

    Args:
        posterior: one distribution with a row for each data point, batch shape (n,) and event shape
            (d,), or an iterable of such, which is read once.
        memory_limit: bytes for a tile of pairs.

    Returns:
        A distribution that can stand in models, in plates too.

    Raises:
        TypeError: for something that is no distribution.
        ValueError: for shapes that do not fit.

    References:
        Hoffman, Johnson, "ELBO surgery", 2016, section 3; Tomczak, Welling, "VAE with a VampPrior",
        2018, equation 8.

    Example:
        >>> import pyro
        >>> from pyro.distributions import Normal
        >>> posterior = Normal(torch.randn(100, 2), torch.ones(100, 2)).to_event(1)
        >>> prior = aggregated_posterior(posterior)
        >>> with pyro.plate("data", 5):
        ...     z = pyro.sample("z", prior)
        >>> z.shape, prior.log_prob(z).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """
    return AggregatedPosterior(Posterior(posterior), check_memory_limit(memory_limit))
