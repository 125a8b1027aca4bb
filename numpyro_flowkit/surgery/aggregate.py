"""The density of the aggregated posterior."""

from collections.abc import Iterable

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from flowkit_core import checks
from flowkit_core.surgery import MEMORY_LIMIT, check_memory_limit, check_points
from numpyro_flowkit.spread import automatic
from numpyro_flowkit.surgery.draws import log_aggregate
from numpyro_flowkit.surgery.posterior import Posterior
from numpyro_flowkit.surgery.precision import is_traced


def aggregate_log_prob(
    posterior: dist.Distribution | Iterable[dist.Distribution],
    z: Array,
    *,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
) -> Array:
    """Log-density of the aggregated posterior, ``log (1/n) sum_i q(z | x_i)``, in nats.

    Shapes: z (..., d) gives (...); in z's dtype, computed in float64 whatever JAX's x64 flag says.
    Only in a trace (``jit``, ``grad``) with the flag off is it computed in float32, pair by pair
    where a product would cancel.

    Cost: n densities for each z; see `elbo_surgery`, also for arrays on several devices. The
    gradient, by z and by the parameters of the posterior, computes them anew and holds none: some
    three times the cost of the value.

    Args:
        posterior: one distribution with a row for each data point, batch shape (n,) and event shape
            (d,), or an iterable of such, which is read once.
        z: points, finite.
        memory_limit: bytes for a tile of pairs.
        progress: show a progress bar of pairs.

    Raises:
        TypeError: for something that is no distribution, or points that are not floating.
        ValueError: for shapes that do not fit, NaN or infinite points, or a limit too small for one
            tile.

    References:
        Hoffman, Johnson, "ELBO surgery", 2016, section 1; Makhzani, Shlens, Jaitly, Goodfellow,
        Frey, "Adversarial Autoencoders", 2016, equation 1.

    Example:
        >>> from numpyro.distributions import Normal
        >>> posterior = Normal(jnp.array([[-1.0], [1.0]]), jnp.ones((2, 1))).to_event(1)
        >>> log_q = aggregate_log_prob(posterior, jnp.zeros(1))
        >>> bool(jnp.allclose(log_q, Normal(0.0, 1.0).log_prob(1.0)))
        True
    """
    rows = Posterior(posterior)
    checks.boolean("progress", progress)
    z = automatic(jnp.asarray(z))
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f"z: expected floating numbers, got {z.dtype}")
    # In a trace there are no numbers to look at.
    num_bad = 0 if is_traced(z) else int((~jnp.isfinite(z)).sum())
    check_points(z.shape, num_bad, rows.dim)
    found = log_aggregate(rows, z, check_memory_limit(memory_limit), progress)
    return found.astype(z.dtype)
