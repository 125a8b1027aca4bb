"""Which latents of a model are local, where they start, and the flow over those of a row."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import biject_to

from flowkit_core.local_latents import LatentShape, LocalLatents, local_latents
from flowkit_core.specs import DiagonalAffineSpec
from pyro_flowkit.build import build
from pyro_flowkit.guides.layers import checked_flow
from pyro_flowkit.transforms import Compose


def local_latents_of(trace: Trace, wanted: str | None) -> LocalLatents:
    """The latents of a model's trace inside of a plate (`flowkit_core.local_latents`)."""
    shapes: dict[str, LatentShape] = {}
    full_sizes: dict[str, int] = {}
    for name, site in trace.iter_stochastic_nodes():
        frames: Any = site["cond_indep_stack"]
        fn: Any = site["fn"]
        batch = tuple(fn.batch_shape)
        event = tuple(_unconstrained(trace, name).shape[len(batch) :])
        shapes[name] = LatentShape({frame.name: frame.dim for frame in frames}, batch, event)
        full_sizes |= {frame.name: frame.full_size or frame.size for frame in frames}
    return local_latents(shapes, full_sizes, wanted)


def first_rows(trace: Trace, local: LocalLatents) -> Tensor:
    """Where the rows of a model's first run are, packed and unconstrained, (B, d)."""
    parts = [_unconstrained(trace, site.name).reshape(-1, site.size) for site in local.sites]
    return torch.cat(parts, -1)


def local_flow(
    make: Callable[..., Any], loc: Tensor, init_scale: float, context_dim: int
) -> Compose:
    """A location and scale, then a conditional flow that starts as the identity.

    The affine layer stands before the flow, so that the flow moves rows in the model's own units.

    Raises:
        TypeError, ValueError: if ``make`` gives no flow, or one of other dimensions.
    """
    flow = checked_flow(make(len(loc), context_dim=context_dim), len(loc), context_dim)
    log_scale = torch.full_like(loc, math.log(init_scale))
    start = build(DiagonalAffineSpec(len(loc)), {"log_scale": log_scale, "shift": loc})
    return Compose([start, flow]).to(device=loc.device, dtype=loc.dtype)


def _unconstrained(trace: Trace, name: str) -> Tensor:
    site: Any = trace.nodes[name]
    value: Tensor = biject_to(site["fn"].support).inv(site["value"].detach())
    return value
