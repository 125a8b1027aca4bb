"""A flow fitted to the aggregated posterior of a trained model: the prior it should have had."""

import os
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from flowkit_core import checks
from flowkit_core.surgery import (
    MEMORY_LIMIT,
    PriorFitResult,
    SurgerySettings,
    check_prior,
    check_prior_shapes,
    prior_fit_of,
)
from numpyro_flowkit.build import FlowInit
from numpyro_flowkit.density import fit_density, start_of
from numpyro_flowkit.distributions import FlowDistribution, standard_normal
from numpyro_flowkit.surgery.draws import log_aggregate
from numpyro_flowkit.surgery.posterior import Posterior
from numpyro_flowkit.transforms import Flow


def fit_prior(
    flow: Flow | FlowInit,
    posterior: dist.Distribution | Iterable[dist.Distribution],
    prior: dist.Distribution | None = None,
    *,
    num_samples: int = 10,
    base: dist.Distribution | None = None,
    validation: float = 0.1,
    batch_size: int = 256,
    num_epochs: int = 100,
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    max_grad_norm: float = 5.0,
    patience: int = 30,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> PriorFitResult:
    """Fit a flow to the aggregated posterior q(z) and tell what it gains over the old prior.

    Maximises ``E log p(z)`` over draws of ``q(z) = (1/n) sum_i q(z | x_i)``, the forward KL
    ``KL(q(z) || p)`` but for a constant. With encoder and decoder as they are, that is all that a
    prior can do for the ELBO, and what it gains there is the fall of the marginal KL::

        result = fit_prior(maf(8), encoder(images), prior)
        print(result)  # marginal KL before and after

    Cost: that of `fit_density` on ``num_samples n`` rows, and of `marginal_kl`, exact.

    Args:
        flow: a flow without context, or a recipe's result, as for `fit_density`. MAF and RealNVP
            score in one pass.
        posterior: as for `elbo_surgery`.
        prior: the one so far; the standard Normal by default.
        num_samples: draws of each data point to fit to. Held-out rows are other draws of the same
            posteriors: draws, not data points, are what the fit must not learn by heart.
        base: distribution of the flow's argument; the standard Normal by default.
        validation: as for `fit_density`.
        batch_size: as for `fit_density`.
        num_epochs: as for `fit_density`.
        learning_rate: as for `fit_density`.
        schedule: as for `fit_density`.
        max_grad_norm: as for `fit_density`.
        patience: as for `fit_density`.
        seed: of all draws, of the split, of the minibatches, and of the weights if ``flow`` is a
            recipe's result.
        progress: show progress bars.
        checkpoint: as for `fit_density`.
        memory_limit: as for `elbo_surgery`.

    Returns:
        `PriorFitResult`: that of `fit_density`, and both marginal KLs.

    Raises:
        TypeError: as `fit_density` and `elbo_surgery`.
        ValueError: as `fit_density` and `elbo_surgery`, and if the flow has another dimension.

    References:
        Hoffman, Johnson, "ELBO surgery", 2016, section 3; Tomczak, Welling, "VAE with a VampPrior",
        2018, equation 8 (the optimal prior is the aggregated posterior).

    Example:
        >>> from numpyro.distributions import Normal
        >>> from numpyro_flowkit import realnvp
        >>> means = 3 + jax.random.normal(jax.random.key(0), (200, 2))
        >>> posterior = Normal(means, 0.5).to_event(1)
        >>> flow = realnvp(2, num_layers=2, hidden_dims=(8,))
        >>> result = fit_prior(flow, posterior, num_epochs=20, learning_rate=1e-2, progress=False)
        >>> result.gain > 1
        True
    """
    rows = Posterior(posterior)
    seed = checks.int_at_least("seed", seed, 0)
    start = start_of(flow, seed)
    check_prior_shapes((), (start.input_dim,), rows.dim, "flow")
    settings = SurgerySettings(num_samples, "exact", None, memory_limit, progress)
    before = standard_normal(start) if prior is None else prior
    check_prior(before, dist.Distribution, rows.dim)
    of_train, of_fresh, _ = jax.random.split(jax.random.key(seed), 3)
    train, fresh = rows.sample(of_train, num_samples), rows.sample(of_fresh, 1)
    fit = fit_density(
        start, train.reshape(-1, rows.dim), base=base, validation=validation,
        batch_size=batch_size, num_epochs=num_epochs, learning_rate=learning_rate,
        schedule=schedule, max_grad_norm=max_grad_norm, patience=patience, seed=seed,
        progress=progress, checkpoint=checkpoint,
    )  # fmt: skip
    z = jnp.asarray(fresh, jnp.result_type(*jax.tree.leaves(fit.flow)))
    log_densities = (
        log_aggregate(rows, fresh, settings.memory_limit, settings.progress),
        before.log_prob(fresh),
        FlowDistribution(fit.flow, base).log_prob(z),
    )
    return prior_fit_of(fit, *(np.asarray(one, np.float64) for one in log_densities))
