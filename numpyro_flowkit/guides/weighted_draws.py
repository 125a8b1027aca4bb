"""Draws of a guide with their importance ratios."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from numpyro import handlers
from numpyro.distributions import Distribution
from numpyro.infer.autoguide import AutoContinuous

from flowkit_core import checks, model_problems
from numpyro_flowkit.distributions import FlowDistribution, base_log_prob
from numpyro_flowkit.guides.sharding import SpreadArguments
from numpyro_flowkit.guides.target import Params, log_density
from numpyro_flowkit.spread import automatic


class WeightedDraws(NamedTuple):
    """Draws of a guide: log-ratios ``log p(x, data) - log q(x)`` (n,), and each site's values."""

    log_ratios: NDArray[np.float64]
    values: dict[str, NDArray[Any]]


def weighted_draws(
    guide: AutoContinuous,
    params: Params,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    rng_key: Array,
    num_samples: int,
    chunk_size: int,
) -> WeightedDraws:
    """Draw from a guide, and evaluate the model at at most ``chunk_size`` draws at once.

    Raises:
        TypeError: for a guide that gives no density of all its latents together.
        ValueError: if the model subsamples, or its latents are not those that the guide has met.
    """
    count = checks.positive_int("num_samples", num_samples)
    chunk = min(checks.positive_int("chunk_size", chunk_size), count)
    _check_kind(guide)
    args, kwargs = automatic((args, dict(kwargs)))
    if guide.prototype_trace is None:
        with handlers.block(), handlers.seed(rng_seed=0):
            guide(*args, **kwargs)
    _check_model(guide, params, args, kwargs)
    draw_key, model_key = jax.random.split(rng_key)
    arguments = SpreadArguments(args, dict(kwargs))

    # The parameters are arguments, or XLA would compile them into the program as constants.
    @jax.jit
    def evaluate(params: Params, part: tuple[Array, ...], arrays: list[Array]) -> tuple[Any, ...]:
        log_p = log_density(guide, *arguments.filled(arrays), rng_key=model_key, params=params)
        latents, log_q = _latents(guide, params, part)
        values = jax.vmap(lambda latent: guide._unpack_and_constrain(latent, params))(latents)
        return jax.vmap(log_p)(latents), log_q, values

    # The noise is drawn at once, so that the chunks do not change the draws.
    noise = _noise(guide, params, draw_key, count)
    found = []
    for start in range(0, count, chunk):
        # The last chunk has draws twice rather than another shape, which would be compiled again.
        rows = np.arange(start, start + chunk).clip(max=count - 1)
        part = tuple(row[rows] for row in noise)
        found.append(jax.device_get(evaluate(params, part, arguments.arrays)))
    log_ps, log_qs, values = jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *found)
    return WeightedDraws(log_ps.astype(np.float64) - log_qs.astype(np.float64), values)


def _noise(guide: AutoContinuous, params: Params, key: Array, count: int) -> tuple[Array, ...]:
    """What a flow makes draws of; of other guides the draws themselves and their log-densities."""
    posterior = _posterior(guide, params)
    if isinstance(posterior, FlowDistribution):
        return (posterior._base.sample(key, (count,)),)
    latents, intermediates = posterior.sample_with_intermediates(key, (count,))
    if intermediates:
        return latents, posterior.log_prob(latents, intermediates)
    # AutoDiagonalNormal's has numbers for events.
    return latents, base_log_prob(posterior, latents, 1)


def _latents(
    guide: AutoContinuous, params: Params, noise: tuple[Array, ...]
) -> tuple[Array, Array]:
    """Unconstrained draws and their log-densities."""
    if len(noise) == 2:
        return noise[0], noise[1]
    (z,) = noise
    posterior = _posterior(guide, params)
    latents, log_det = posterior.flow.forward_and_log_det(z)
    return latents, base_log_prob(posterior._base, z, 1) - log_det


def _posterior(guide: AutoContinuous, params: Params) -> Distribution:
    try:
        return guide.get_posterior(params)
    except NotImplementedError as error:  # AutoDAIS
        raise _wrong_kind(guide) from error


def _check_kind(guide: Any) -> None:
    if not isinstance(guide, AutoContinuous):
        raise _wrong_kind(guide)


def _wrong_kind(guide: Any) -> TypeError:
    return TypeError(
        "guide: expected one with a joint density of all latents (AutoFlow, "
        "AutoDiagonalNormal, AutoMultivariateNormal, ...), got "
        f"{type(guide).__name__}; AutoDiagonalNormal is the family of AutoNormal"
    )


def _check_model(
    guide: AutoContinuous, params: Params, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raise if the model subsamples, or has other latents than those the guide knows."""
    model = handlers.substitute(handlers.seed(guide.model, rng_seed=0), data=params)
    with handlers.block():
        trace = handlers.trace(model).get_trace(*args, **kwargs)
    for name, site in trace.items():
        if site["type"] == "plate" and site["args"][1] not in (None, site["args"][0]):
            raise ValueError(
                f"plate {name!r} draws {site['args'][1]} of {site['args'][0]} rows, and importance "
                "weights need the density of all the data; pass arguments with which the model "
                "does not subsample"
            )
    known, given = (
        {n: jnp.shape(s["value"]) for n, s in sites.items()
         if s["type"] == "sample" and not s["is_observed"]}
        for sites in (guide.prototype_trace, trace)
    )  # fmt: skip
    model_problems.check_same_shapes(known, given)
