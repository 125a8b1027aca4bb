"""How well a flow undoes itself, layer by layer."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions.transforms import Transform

from flowkit_core import checks
from flowkit_core.numerics import round_trip_tolerance
from flowkit_core.reports import LayerRoundTrip, RoundTripReport
from pyro_flowkit.transforms import Autoregressive, Compose, Flow
from pyro_flowkit.transforms.parts import forward_part, inverse_part

DIRECTIONS = ("forward", "inverse")


@torch.no_grad()
def round_trip(
    flow: Flow, values: Tensor, *, context: Tensor | None = None, direction: str = "forward"
) -> RoundTripReport:
    """Send values through a flow and back through each layer, and report what is left over.

    For every layer: how the direction was found, the iterations of a fixed point, and the largest
    ``|v - p(u)| / (1 + |v|)``, where u is what the layer made of v and p its other direction.

    Args:
        flow: the flow; compositions are taken apart.
        values: (..., D) or images, z for "forward" and x for "inverse".
        context: (..., context_dim) for a conditional flow, else None.
        direction: "forward" (base to data) or "inverse" (data to base).

    Cost: one evaluation in either direction of every layer.

    Raises:
        TypeError: if ``flow`` is no `Flow`, or for values that are not of its floating dtype.
        ValueError: for another direction, a wrong shape, a missing or superfluous context.

    Example:
        >>> from pyro_flowkit import maf
        >>> report = round_trip(maf(3, num_layers=1, hidden_dims=(8,)), torch.ones(5, 3))
        >>> report.layers[0].method, report.converged
        ('sweep', True)
    """
    checks.instance("flow", flow, Flow)
    forward = checks.choice("direction", direction, DIRECTIONS) == "forward"
    checked, context = flow._checked("z" if forward else "x", values, context)
    rank, rows = len(flow.event_shape), []
    for part in _parts(flow, forward):
        result, method, iterations = _go(part, checked, context, forward, rank)
        back, _, _ = _go(part, result, context, not forward, rank)
        rows.append(_row(part, method, iterations, checked, back))
        checked = result
    return RoundTripReport(rows)


def _parts(part: Transform, forward: bool) -> Iterator[Transform]:
    """The layers in the order in which the direction applies them."""
    if not isinstance(part, Compose):
        yield part
        return
    for inner in part.parts if forward else reversed(part.parts):
        yield from _parts(inner, forward)


def _go(
    part: Transform, values: Tensor, context: Tensor | None, forward: bool, rank: int
) -> tuple[Tensor, str, int | None]:
    """Map by one layer; say by which method, and in how many iterations."""
    sequential = "sequential_forward" if forward else "sequential_inverse"
    if isinstance(part, Autoregressive) and getattr(part, sequential):
        return part.solve_sequential(values, context if part.context_dim else None)
    apply = forward_part if forward else inverse_part
    newton = not forward and getattr(part, "iterative_inverse", False)
    return apply(part, values, context, rank)[0], "newton" if newton else "closed form", None


def _row(
    part: Transform, method: str, iterations: int | None, values: Tensor, back: Tensor
) -> LayerRoundTrip:
    residual = ((values - back).abs() / (1 + values.abs())).flatten()
    return LayerRoundTrip(
        layer=type(part).__name__,
        method=method,
        iterations=iterations,
        residual=float(residual.amax()) if residual.numel() else 0.0,
        tolerance=round_trip_tolerance(torch.finfo(values.dtype).eps),
    )
