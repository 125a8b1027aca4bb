"""Surgery of a model and its guide, read off their sites."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array, lax
from numpyro import handlers

from flowkit_core import checks
from flowkit_core.surgery import (
    MEMORY_LIMIT,
    ElboSurgery,
    SurgerySettings,
    batches_of,
    check_latents,
    check_plate,
    check_posterior_shapes,
    data_axis,
)
from numpyro_flowkit.surgery.compiled import compiled
from numpyro_flowkit.surgery.draws import surgery_of_draws
from numpyro_flowkit.surgery.posterior import Posterior


def elbo_surgery_of(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    params: dict[str, Any],
    data: Any,
    *,
    rng_key: Array,
    latent: str = "z",
    batch_size: int = 512,
    num_samples: int = 1,
    method: str = "exact",
    num_others: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = False,
) -> ElboSurgery:
    """Take the ELBO of a trained model and its guide apart: `elbo_surgery` read off their sites.

    ``q(z | x)`` is the guide's distribution at the latent site, ``p(z)`` the model's, and the
    likelihood that of all observed sites::

        found = elbo_surgery_of(model, guide, svi_result.params, images, rng_key=key)
        print(found)

    The latent is in one plate, over the data points, as its last batch dimension. Scales of
    subsampled plates are left out: every data point counts once.

    Cost: the guide once and the model ``num_samples`` times for each data point, and what
    `elbo_surgery` costs. The data may be an iterable of batches; only the posteriors' parameters
    and the draws of all data points are held at once. Model and guide are compiled at the first
    call and for new shapes. They have to be pure functions, as under any ``jit``: what they read
    besides arguments and parameters counts as it was in the first call.

    Args:
        model: called with each batch.
        guide: called with each batch.
        params: parameters of both: ``svi.get_params(state)``.
        data: an array whose first axis is that of data points, a tuple of such arrays (several
            arguments), or an iterable of batches.
        rng_key: of the draws and of the choice of others.
        latent: name of the site.
        batch_size: rows of a batch, where the data are arrays.
        num_samples: as for `elbo_surgery`.
        method: as for `elbo_surgery`.
        num_others: as for `elbo_surgery`.
        memory_limit: as for `elbo_surgery`.
        progress: as for `elbo_surgery`.

    Returns:
        `ElboSurgery`.

    Raises:
        TypeError: for data that cannot be taken apart.
        ValueError: if there is no such site, if there are other latents, if a site is not in the
            plate of the data points, and as `elbo_surgery`.

    Example:
        >>> import numpyro
        >>> def model(x):
        ...     with numpyro.plate("data", len(x)):
        ...         z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        ...         numpyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
        >>> def guide(x):
        ...     with numpyro.plate("data", len(x)):
        ...         numpyro.sample("z", dist.Normal(x / 2, 0.5**0.5).to_event(1))
        >>> x = jax.random.normal(jax.random.key(0), (100, 2))
        >>> found = elbo_surgery_of(model, guide, {}, x, rng_key=jax.random.key(1))
        >>> found.num_data, found.dim
        (100, 2)
    """
    settings = SurgerySettings(num_samples, method, num_others, memory_limit, progress)
    size = checks.positive_int("batch_size", batch_size)
    read = compiled(read_sites, model, guide)
    of_draws, of_others = jax.random.split(rng_key)
    found = [
        read(params, batch, jax.random.fold_in(of_draws, index), latent, num_samples)
        for index, batch in enumerate(batches_of(data, size))
    ]
    if not found:
        raise ValueError("data: expected at least one batch, got none")
    posterior, z, prior, likelihood = zip(*found, strict=True)
    return surgery_of_draws(
        Posterior(posterior), jnp.concatenate(z, 1), jnp.concatenate(prior, 1),
        jnp.concatenate(likelihood, 1), settings, of_others,
    )  # fmt: skip


_Read = tuple[dist.Distribution, Array, Array, Array]


def read_sites(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    params: dict[str, Any],
    batch: tuple[Any, ...],
    key: Array,
    latent: str,
    num_samples: int,
) -> _Read:
    """Posterior, draws (S, b, d), ``log p(z)`` and ``log p(x | z)`` (S, b) of a batch."""
    of_guide, of_z, of_model = jax.random.split(key, 3)
    drawn = _sites(handlers.substitute(guide, params), of_guide, batch)
    names = [n for n, site in drawn.items() if not (site["is_observed"] or _is_auxiliary(site))]
    given: dict[str, Array] = {}
    if latent in names:
        check_plate(latent, _dims(drawn[latent]), "guide")
        posterior: dist.Distribution = drawn[latent]["fn"]
        check_posterior_shapes(posterior.batch_shape, posterior.event_shape, f"guide: {latent!r}")
        given = {latent: posterior.sample(of_z, (num_samples,))}

    def of_sample(given: dict[str, Array]) -> tuple[Array, Array]:
        conditioned = handlers.condition(handlers.substitute(model, params), given)
        sites = _sites(conditioned, of_model, batch)
        latents = [n for n, site in sites.items() if n == latent or not site["is_observed"]]
        observed = [n for n in sites if n not in latents]
        check_latents(latent, names, latents, observed)
        dim = check_plate(latent, _dims(sites[latent]), "model")
        prior = sites[latent]["fn"].log_prob(given[latent])
        parts = [_of_rows(name, sites[name], latent, dim) for name in observed]
        return jnp.broadcast_to(prior, given[latent].shape[:-1]), jnp.stack(parts).sum(0)

    if not given:  # says what is wrong
        of_sample(given)
    prior, likelihood = lax.map(of_sample, given)
    return posterior, given[latent], prior, likelihood


def _sites(function: Callable[..., Any], key: Array, batch: tuple[Any, ...]) -> dict[str, Any]:
    trace = handlers.trace(handlers.seed(function, key)).get_trace(*batch)
    return {name: site for name, site in trace.items() if site["type"] == "sample"}


def _of_rows(name: str, site: dict[str, Any], latent: str, plate_dim: int) -> Array:
    """Log-density (b,) of an observed site, one number for each data point, without scale."""
    axis = data_axis(name, latent, _dims(site), plate_dim)
    log_prob = site["fn"].log_prob(site["value"])
    others = tuple(dim for dim in range(-log_prob.ndim, 0) if dim != axis)
    return log_prob.sum(others)


def _dims(site: dict[str, Any]) -> list[int]:
    return [frame.dim for frame in site["cond_indep_stack"]]


def _is_auxiliary(site: dict[str, Any]) -> bool:
    return bool(site["infer"].get("is_auxiliary"))
