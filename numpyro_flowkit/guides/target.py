"""The posterior that a guide approximates, as a function of its unconstrained latents."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jax import Array, lax
from numpyro import handlers
from numpyro.infer.autoguide import AutoContinuous
from numpyro.infer.util import potential_energy

from flowkit_core import model_problems

Params = dict[str, Any]


def log_density(
    guide: AutoContinuous,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    rng_key: Array,
    params: Params | None = None,
    model: Callable[..., Any] | None = None,
) -> Callable[[Array], Array]:
    """The function ``u -> log p(data, theta(u)) + log |det dtheta/du|`` of one latent vector.

    u is what the guide draws: all latents, packed and unconstrained; theta the model's own.

    Args:
        guide: a guide that has met its model.
        args: the model's arguments.
        kwargs: its keyword arguments.
        rng_key: for what the model itself draws: rows of subsampled plates.
        params: values of the model's own parameters (``numpyro.param`` sites).
        model: the model, if it is another than the guide's.
    """
    bare = guide.model if model is None else model
    fixed = {} if params is None else params

    def at(latent: Array) -> Array:
        seeded = handlers.seed(handlers.substitute(bare, data=fixed), rng_key)
        with numpyro.validation_enabled(False):  # of traced values there is nothing to check
            energy = potential_energy(seeded, args, kwargs, guide._unpack_latent(latent))
        return -energy

    return at


def in_chunks(function: Callable[[Array], Array], rows: Array, chunk_size: int) -> Array:
    """``function`` of each row, at most ``chunk_size`` of them at once; traceable."""
    return lax.map(function, rows, batch_size=min(chunk_size, len(rows)))


def check_start(guide: AutoContinuous, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise if these arguments give the model other latents, or no finite density at the start.

    Raises:
        ModelError: says which site it is, and what to do.
    """
    values = guide._postprocess_fn(dict(guide._init_locs))
    latents = {n: s for n, s in guide.prototype_trace.items() if _is_latent(s)}
    model = handlers.seed(guide.model, rng_seed=0)
    found = handlers.trace(handlers.block(model, hide_fn=lambda s: s["type"] != "sample"))
    shapes = {n: jnp.shape(s["value"]) for n, s in found.get_trace(*args, **kwargs).items()
              if _is_latent(s)}  # fmt: skip
    met = {name: jnp.shape(site["value"]) for name, site in latents.items()}
    for name in [*met, *shapes]:
        if met.get(name) != shapes.get(name):
            raise model_problems.changed_shapes(name, met.get(name), shapes.get(name))
    at_start = handlers.substitute(model, data={n: values[n] for n in latents if n in values})
    for name, site in handlers.trace(at_start).get_trace(*args, **kwargs).items():
        if site["type"] == "sample":
            log_prob = float(jnp.sum(site["fn"].log_prob(site["value"])))
            if not jnp.isfinite(log_prob):
                raise model_problems.bad_density(name, log_prob, observed=site["is_observed"])


def _is_latent(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and not site["is_observed"]
