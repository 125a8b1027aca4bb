"""Whether a model, with these arguments, is one that a guide can be fitted to."""

from typing import Any

import jax.numpy as jnp
from numpyro import handlers
from numpyro.infer.autoguide import AutoContinuous

from flowkit_core import model_problems


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
