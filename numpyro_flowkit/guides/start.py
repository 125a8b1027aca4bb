"""A guide and a model with values for all of their parameters."""

from collections.abc import Callable
from typing import Any

from jax import Array, random
from numpyro import handlers

from numpyro_flowkit.guides.auto_flow import AutoFlow
from numpyro_flowkit.guides.model_checks import check_latents, check_shapes, explained
from numpyro_flowkit.guides.target import Params


def started_params(
    model: Callable[..., Any],
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    rng_key: Array,
    params: Params | None = None,
) -> Params:
    """Parameters of the guide and of its model, where none are given yet as they start.

    Calls the guide once, which shows it the model if it is new.

    Raises:
        ModelError: if it is not a model for a flow guide, or not the one that the guide has met.
    """
    given = {} if params is None else dict(params)
    if not isinstance(guide, AutoFlow):
        sites = param_sites(model, guide, args, kwargs, rng_key, given)
    else:
        if guide.prototype_trace is None:
            check_latents(guide, args, kwargs)
        else:
            check_shapes(model, guide, args, kwargs)
        with explained(guide, args, kwargs):
            sites = param_sites(model, guide, args, kwargs, rng_key, given)
    return {site["name"]: site["value"] for site in sites} | given


def param_sites(
    model: Callable[..., Any],
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    rng_key: Array,
    params: Params,
) -> list[dict[str, Any]]:
    """The ``numpyro.param`` sites of a model and a guide, with these values where there are any."""
    guide_key, model_key = random.split(rng_key)
    with handlers.block():
        seeded = handlers.seed(handlers.substitute(guide, data=params), guide_key)
        guide_trace = handlers.trace(seeded).get_trace(*args, **kwargs)
        replayed = handlers.replay(handlers.seed(model, model_key), guide_trace)
        substituted = handlers.substitute(replayed, data=params)
        model_trace = handlers.trace(substituted).get_trace(*args, **kwargs)
    sites = [*model_trace.values(), *guide_trace.values()]
    return [site for site in sites if site["type"] == "param"]
