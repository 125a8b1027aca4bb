"""Which latents of a model are local, where they start, and the flow over those of a row."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.distributions import biject_to

from flowkit_core.local_latents import LocalLatents, local_site, only_plate
from flowkit_core.specs import DiagonalAffineSpec
from numpyro_flowkit.build import build
from numpyro_flowkit.transforms import Compose, Flow

Trace = Mapping[str, Any]


def local_latents(trace: Trace, wanted: str | None) -> LocalLatents:
    """The latents inside of a plate.

    Args:
        trace: of a model.
        wanted: name of the plate, or None for the only one that holds latents.

    Raises:
        ModelError: if there is no such plate, several, or one inside of another.
    """
    frames = {name: {frame.name: frame for frame in trace[name]["cond_indep_stack"]}
              for name in latents(trace)}  # fmt: skip
    plate = only_plate(wanted, {name: list(around) for name, around in frames.items()})
    full_size = trace[plate]["args"][0]
    sites = []
    for name, around in frames.items():
        if plate in around:
            frame, fn = around[plate], trace[name]["fn"]
            shape = _unconstrained(trace, name).shape
            event = tuple(shape[len(fn.batch_shape) :])
            sites.append(local_site(name, frame.dim, tuple(fn.batch_shape), event, plate))
    return LocalLatents(plate, full_size, frame.dim, tuple(sites))


def latents(trace: Trace) -> list[str]:
    """Names of a trace's latents, in its order."""
    return [name for name, site in trace.items()
            if site["type"] == "sample" and not site["is_observed"]]  # fmt: skip


def first_rows(trace: Trace, local: LocalLatents) -> Array:
    """Where the rows of a model's first run are, packed and unconstrained, (B, d)."""
    parts = [_unconstrained(trace, site.name).reshape(-1, site.size) for site in local.sites]
    return jnp.concatenate(parts, -1)


def local_flow(
    make: Callable[..., Any], loc: Array, init_scale: float, context_dim: int, rng_key: Array
) -> Compose:
    """A location and scale, then a conditional flow that starts as the identity.

    The affine layer stands before the flow, so that the flow moves rows in the model's own units.

    Raises:
        TypeError, ValueError: if ``make`` gives no flow, or one of other dimensions.
    """
    init = make(len(loc), context_dim=context_dim)
    flow = init(rng_key) if callable(init) and not isinstance(init, Flow) else None
    if not isinstance(flow, Flow):
        raise TypeError(
            "flow: expected it to return what a recipe returns, a function from a key to a Flow, "
            f"got {type(init).__name__}"
        )
    if (flow.input_dim, flow.context_dim) != (len(loc), context_dim):
        raise ValueError(
            f"flow: expected input_dim={len(loc)} and context_dim={context_dim}, got "
            f"input_dim={flow.input_dim}, context_dim={flow.context_dim}"
        )
    flow = jax.tree.map(lambda leaf: leaf.astype(loc.dtype), flow)
    log_scale = jnp.full_like(loc, math.log(init_scale))
    start = build(DiagonalAffineSpec(len(loc)), {"log_scale": log_scale, "shift": loc})
    return Compose((start, flow))


def _unconstrained(trace: Trace, name: str) -> Array:
    site = trace[name]
    value: Array = biject_to(site["fn"].support).inv(site["value"])
    return value
