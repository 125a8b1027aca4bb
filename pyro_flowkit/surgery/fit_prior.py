"""A flow fitted to the aggregated posterior of a trained model: the prior it should have had."""

import os
from collections.abc import Iterable

import torch
from torch.distributions import Distribution

from flowkit_core import checks
from flowkit_core.surgery import (
    MEMORY_LIMIT,
    PriorFitResult,
    SurgerySettings,
    check_prior,
    check_prior_shapes,
    prior_fit_of,
)
from pyro_flowkit.bases.base import lent_generator
from pyro_flowkit.density import fit_density
from pyro_flowkit.distributions import FlowDistribution, standard_normal
from pyro_flowkit.surgery.draws import log_aggregate
from pyro_flowkit.surgery.posterior import Posterior
from pyro_flowkit.transforms import Flow


def fit_prior(
    flow: Flow,
    posterior: Distribution | Iterable[Distribution],
    prior: Distribution | None = None,
    *,
    num_samples: int = 10,
    base: Distribution | None = None,
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

    The flow is trained in place.

    Cost: that of `fit_density` on ``num_samples n`` rows, and of `marginal_kl`, exact.

    Args:
        flow: without context; MAF and RealNVP score in one pass.
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
        seed: of all draws, of the split and of the minibatches.
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
        >>> from pyro.distributions import Normal
        >>> from pyro_flowkit import realnvp
        >>> posterior = Normal(3 + torch.randn(200, 2), torch.full((200, 2), 0.5)).to_event(1)
        >>> flow = realnvp(2, num_layers=2, hidden_dims=(8,))
        >>> result = fit_prior(flow, posterior, num_epochs=20, learning_rate=1e-2, progress=False)
        >>> result.gain > 1
        True
    """
    rows = Posterior(posterior)
    if not isinstance(flow, Flow):
        raise TypeError(f"flow: expected a Flow of pyro_flowkit, got {type(flow).__name__}")
    check_prior_shapes((), (flow.input_dim,), rows.dim, "flow")
    settings = SurgerySettings(num_samples, "exact", None, memory_limit, progress)
    before = standard_normal(flow) if prior is None else prior
    check_prior(before, Distribution, rows.dim)
    seed = checks.int_at_least("seed", seed, 0)
    with torch.no_grad(), lent_generator(torch.Generator().manual_seed(seed)):
        train, fresh = rows.sample(num_samples), rows.sample(1)
    fit = fit_density(
        flow, train.reshape(-1, rows.dim), base=base, validation=validation,
        batch_size=batch_size, num_epochs=num_epochs, learning_rate=learning_rate,
        schedule=schedule, max_grad_norm=max_grad_norm, patience=patience, seed=seed,
        progress=progress, checkpoint=checkpoint,
    )  # fmt: skip
    with torch.no_grad():
        z = fresh.to(next(flow.parameters()))
        log_densities = (
            log_aggregate(rows, fresh, settings.memory_limit, settings.progress),
            before.log_prob(fresh),
            FlowDistribution(flow, base).log_prob(z),
        )
    return prior_fit_of(fit, *(one.to(torch.float64).cpu().numpy() for one in log_densities))
