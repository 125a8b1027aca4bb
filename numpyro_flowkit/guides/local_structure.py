"""Which latents of a model are local, where they start, and the flow over those of a row."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array
from numpyro.distributions import biject_to

from flowkit_core.local_latents import LatentShape, LocalLatents, local_latents
from flowkit_core.specs import DiagonalAffineSpec
from numpyro_flowkit.build import build
from numpyro_flowkit.guides.layers import started_flow
from numpyro_flowkit.transforms import Compose

Trace = Mapping[str, Any]


def local_latents_of(trace: Trace, wanted: str | None) -> LocalLatents:
    """The latents of a model's trace inside of a plate (`flowkit_core.local_latents`)."""
    shapes: dict[str, LatentShape] = {}
    full_sizes: dict[str, int] = {}
    for name in latents(trace):
        frames = trace[name]["cond_indep_stack"]
        batch = tuple(trace[name]["fn"].batch_shape)
        event = tuple(_unconstrained(trace, name).shape[len(batch) :])
        shapes[name] = LatentShape({frame.name: frame.dim for frame in frames}, batch, event)
        full_sizes |= {frame.name: trace[frame.name]["args"][0] for frame in frames}
    return local_latents(shapes, full_sizes, wanted)


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
    flow = started_flow(make(len(loc), context_dim=context_dim), rng_key, loc, context_dim)
    log_scale = jnp.full_like(loc, math.log(init_scale))
    start = build(DiagonalAffineSpec(len(loc)), {"log_scale": log_scale, "shift": loc})
    return Compose((start, flow))


def _unconstrained(trace: Trace, name: str) -> Array:
    site = trace[name]
    value: Array = biject_to(site["fn"].support).inv(site["value"])
    return value
