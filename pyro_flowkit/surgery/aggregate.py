"""The density of the aggregated posterior."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Distribution

from flowkit_core import checks
from flowkit_core.surgery import MEMORY_LIMIT, check_memory_limit, check_points
from pyro_flowkit.process_group import Group
from pyro_flowkit.surgery.draws import log_aggregate
from pyro_flowkit.surgery.posterior import Posterior

if TYPE_CHECKING:  # there are builds of torch without it
    from torch.distributed import ProcessGroup


def aggregate_log_prob(
    posterior: Distribution | Iterable[Distribution],
    z: Tensor,
    *,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
    process_group: "ProcessGroup | None" = None,
) -> Tensor:
    """Log-density of the aggregated posterior, ``log (1/n) sum_i q(z | x_i)``, in nats.

    Shapes: z (..., d) gives (...); in z's dtype, computed in float64.

    Cost: n densities for each z; see `elbo_surgery`. The gradient, by z and by the parameters of
    the posterior, computes those anew that count, and holds none: up to five times the cost of the
    value for Gaussians, half as much again where few posteriors count for each z.

    Args:
        posterior: one distribution with a row for each data point, batch shape (n,) and event shape
            (d,), or an iterable of such, which is read once.
        z: points, finite.
        memory_limit: bytes for a tile of pairs.
        progress: show a progress bar of pairs.
        process_group: of ``torch.distributed``, whose processes all call this function, each with
            its own data points (some of them, or none: an empty list) and its own points. Each gets
            the densities of its points, from the data points of all. Gradients are those of the sum
            of all processes' losses; all have to go back through the densities, or none.

    Raises:
        TypeError: for something that is no distribution, or points that are not floating.
        ValueError: for shapes that do not fit, NaN or infinite points, or a limit too small for one
            tile.
        NotImplementedError: for a second derivative by way of Gaussian posteriors.

    References:
        Hoffman, Johnson, "ELBO surgery", 2016, section 1; Makhzani, Shlens, Jaitly, Goodfellow,
        Frey, "Adversarial Autoencoders", 2016, equation 1.

    Example:
        >>> from pyro.distributions import Normal
        >>> posterior = Normal(torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1)).to_event(1)
        >>> log_q = aggregate_log_prob(posterior, torch.zeros(1))
        >>> torch.allclose(log_q, Normal(0.0, 1.0).log_prob(torch.tensor(1.0)))
        True
    """
    rows = Posterior(posterior, Group(process_group))
    checks.boolean("progress", progress)

    def check() -> None:
        if not z.is_floating_point():
            raise TypeError(f"z: expected floating numbers, got {z.dtype}")
        check_points(z.shape, int((~torch.isfinite(z)).sum()), rows.dim)

    rows.group.together(check)
    found = log_aggregate(rows, z, check_memory_limit(memory_limit), progress)
    return found.to(z.dtype)
