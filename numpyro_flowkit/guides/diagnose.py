"""Whether to trust a guide, and draws of the posterior by way of it."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.autoguide import AutoContinuous

from flowkit_core import checks
from flowkit_core.diagnostics import (
    GuideDiagnostics,
    arviz,
    check_num_samples,
    diagnose_draws,
    resampled_rows,
)
from numpyro_flowkit.guides.weighted_draws import weighted_draws


def diagnose(
    guide: AutoContinuous,
    params: dict[str, Any],
    *args: Any,
    rng_key: Array,
    num_samples: int = 10_000,
    chunk_size: int = 256,
    **kwargs: Any,
) -> GuideDiagnostics:
    """Tell whether a guide q stands for the posterior, from importance ratios of its draws.

    ``r_i = p(x_i, data) / q(x_i)`` for draws x_i of q, both densities in unconstrained coordinates.
    The tail of the ratios is smoothed by a Pareto distribution whose index khat says whether they
    can be relied on (see `GuideDiagnostics` for every number)::

        result = diagnose(guide, params, data, rng_key=key)
        print(result)  # numbers, means beside weighted means, and a verdict
        result.plot("guide.png")

    Cost: one evaluation of the model and one of the flow for each draw, without gradients; scoring
    the draws is free. Memory: the draws of all sites, and ``chunk_size`` evaluations of the model.

    Args:
        guide: an `AutoFlow`, or another `AutoContinuous` guide with a density, such as
            NumPyro's `AutoMultivariateNormal`.
        params: its parameters, and the model's own: ``svi.get_params(state)``.
        args: the model's arguments: all of its data.
        rng_key: key of the draws.
        num_samples: number of draws, at least 100. khat is reliable from some 1000 on.
        chunk_size: draws at which the model is evaluated at once. It does not change the draws.
        kwargs: the model's keyword arguments.

    Returns:
        `GuideDiagnostics`. In nats: ``elbo``, ``log_evidence`` and their standard errors.

    Raises:
        TypeError: for a guide without a density of all its latents together.
        ValueError: if the model subsamples data, has latents that the guide has not met (both name
            the site), or ``num_samples`` is too small.
        ImportError: without arviz.

    References:
        Yao, Vehtari, Simpson, Gelman, "Yes, but Did It Work?: Evaluating Variational Inference",
        2018, section 3.1; Vehtari, Simpson, Gelman, Yao, Gabry, "Pareto Smoothed Importance
        Sampling", 2024, equation 13 (the threshold).

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from numpyro import handlers
        >>> from numpyro.infer import init_to_mean
        >>> from numpyro_flowkit import AutoIAF
        >>> def model():
        ...     x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        >>> exact = AutoIAF(model, base="normal", init_loc_fn=init_to_mean, init_scale=1.0)
        >>> with handlers.seed(rng_seed=0), handlers.trace() as trace:
        ...     _ = exact()
        >>> params = {"auto_flow$params": trace["auto_flow$params"]["value"]}
        >>> result = diagnose(exact, params, rng_key=jax.random.key(0))
        >>> abs(result.log_evidence) < 0.01, result.level
        (True, 'good')
    """
    arviz()  # if it is missing, say so before the work
    drawn = weighted_draws(
        guide, params, args, kwargs, rng_key=rng_key,
        num_samples=check_num_samples(num_samples), chunk_size=chunk_size,
    )  # fmt: skip
    return diagnose_draws(drawn.log_ratios, drawn.values)


def importance_resample(
    guide: AutoContinuous,
    params: dict[str, Any],
    *args: Any,
    rng_key: Array,
    num_draws: int,
    num_samples: int = 10_000,
    replace: bool = True,
    chunk_size: int = 256,
    **kwargs: Any,
) -> dict[str, Array]:
    """Draws of the posterior: draws of a guide, chosen in proportion to their smoothed weights.

    They are as good as the weights are, so look at `diagnose` first: a warning says when its
    verdict is not to trust the guide. For arviz, see `to_arviz`.

    Cost: that of `diagnose`.

    Args:
        guide: as for `diagnose`.
        params: as for `diagnose`.
        args: the model's arguments: all of its data.
        rng_key: key of the draws.
        num_draws: number of draws to return, best well below ``num_samples``.
        num_samples: number of draws of the guide to choose from, at least 100.
        replace: choose with replacement: each draw independently, so that some appear more than
            once. Without, all are distinct, and nearer to the guide's own draws the more of
            them are taken.
        chunk_size: as for `diagnose`.
        kwargs: the model's keyword arguments.

    Returns:
        For each latent and deterministic site an array (num_draws, *shape of the site).

    Raises:
        TypeError: as `diagnose`.
        ValueError: as `diagnose`, and if no draw has a positive weight, or without replacement
            fewer than ``num_draws`` have.
        ImportError: without arviz.

    References:
        Rubin, "Using the SIR Algorithm to Simulate Posterior Distributions", 1988, section 2.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from numpyro import handlers
        >>> from numpyro_flowkit import AutoIAF
        >>> def model():
        ...     x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        >>> guide = AutoIAF(model, base="normal", init_scale=1.5)
        >>> with handlers.seed(rng_seed=0), handlers.trace() as trace:
        ...     _ = guide()
        >>> params = {"auto_flow$params": trace["auto_flow$params"]["value"]}
        >>> key = jax.random.key(0)
        >>> importance_resample(guide, params, rng_key=key, num_draws=500)["x"].shape
        (500,)
    """
    count = checks.positive_int("num_draws", num_draws)
    replace = checks.boolean("replace", replace)
    arviz()
    draw_key, choice_key = jax.random.split(rng_key)
    drawn = weighted_draws(
        guide, params, args, kwargs, rng_key=draw_key,
        num_samples=check_num_samples(num_samples), chunk_size=chunk_size,
    )  # fmt: skip
    found = diagnose_draws(drawn.log_ratios, {})
    rng = np.random.default_rng(np.asarray(jax.random.bits(choice_key, (4,), "uint32")))
    rows = resampled_rows(found.log_weights, count, rng=rng, replace=replace)
    if not found.trusted:
        warnings.warn(f"importance_resample: {found.verdict}", stacklevel=2)
    return {name: jnp.asarray(values[rows]) for name, values in drawn.values.items()}
