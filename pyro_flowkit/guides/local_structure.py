"""Which latents of a model are local, where they start, and the flow over those of a row."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import biject_to

from flowkit_core.local_latents import LocalLatents, local_site, only_plate
from flowkit_core.specs import DiagonalAffineSpec
from pyro_flowkit.build import build
from pyro_flowkit.transforms import Compose, Flow


def local_latents(trace: Trace, wanted: str | None) -> LocalLatents:
    """The latents inside of a plate.

    Args:
        trace: of a model.
        wanted: name of the plate, or None for the only one that holds latents.

    Raises:
        ModelError: if there is no such plate, several, or one inside of another.
    """
    frames = {name: {frame.name: frame for frame in site["cond_indep_stack"]}
              for name, site in trace.iter_stochastic_nodes()}  # fmt: skip
    plate = only_plate(wanted, {name: list(around) for name, around in frames.items()})
    sites = []
    for name, around in frames.items():
        if plate in around:
            frame: Any = around[plate]
            fn: Any = trace.nodes[name]["fn"]
            shape = _unconstrained(trace, name).shape
            event = tuple(shape[len(fn.batch_shape) :])
            sites.append(local_site(name, frame.dim, tuple(fn.batch_shape), event, plate))
    return LocalLatents(plate, frame.full_size or frame.size, frame.dim, tuple(sites))


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
    flow = make(len(loc), context_dim=context_dim)
    if not isinstance(flow, Flow):
        raise TypeError(f"flow: expected it to return a Flow, got {type(flow).__name__}")
    if (flow.input_dim, flow.context_dim) != (len(loc), context_dim):
        raise ValueError(
            f"flow: expected input_dim={len(loc)} and context_dim={context_dim}, got "
            f"input_dim={flow.input_dim}, context_dim={flow.context_dim}"
        )
    log_scale = torch.full_like(loc, math.log(init_scale))
    start = build(DiagonalAffineSpec(len(loc)), {"log_scale": log_scale, "shift": loc})
    return Compose([start, flow]).to(device=loc.device, dtype=loc.dtype)


def _unconstrained(trace: Trace, name: str) -> Tensor:
    site: Any = trace.nodes[name]
    value: Tensor = biject_to(site["fn"].support).inv(site["value"].detach())
    return value
