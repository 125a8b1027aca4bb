"""How well a flow undoes itself, layer by layer."""

from collections.abc import Iterator

import jax.numpy as jnp
from jax import Array
from numpyro.distributions.transforms import Transform

from flowkit_core import checks
from flowkit_core.numerics import round_trip_tolerance
from flowkit_core.reports import LayerRoundTrip, RoundTripReport
from numpyro_flowkit.transforms import Autoregressive, Compose, Flow
from numpyro_flowkit.transforms.parts import forward_part, inverse_part

DIRECTIONS = ("forward", "inverse")


def round_trip(
    flow: Flow, values: Array, *, context: Array | None = None, direction: str = "forward"
) -> RoundTripReport:
    """Send values through a flow and back through each layer, and report what is left over.

    For every layer: how the direction was found, the iterations of a fixed point, and the largest
    ``|v - p(u)| / (1 + |v|)``, where u is what the layer made of v and p its other direction.

    Args:
        flow: the flow; compositions are taken apart.
        values: (..., D) or images, z for "forward" and x for "inverse".
        context: (..., context_dim) for a conditional flow, else None.
        direction: "forward" (base to data) or "inverse" (data to base).

    Cost: one evaluation in either direction of every layer, two where a fixed point is counted.
    Not for use under ``jit``.

    Raises:
        TypeError: if ``flow`` is no `Flow`, or for values that are not floating.
        ValueError: for another direction, a batch of flows, a wrong shape, a missing or superfluous
            context.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import maf
        >>> flow = maf(3, num_layers=1, hidden_dims=(8,))(jax.random.key(0))
        >>> report = round_trip(flow, jnp.ones((5, 3)))
        >>> report.layers[0].method, report.converged
        ('sweep', True)
    """
    checks.instance("flow", flow, Flow)
    forward = checks.choice("direction", direction, DIRECTIONS) == "forward"
    if flow.batch_shape:
        raise ValueError(
            f"flow: expected a single flow, got a batch of shape {flow.batch_shape}; "
            "take one with jax.tree.map(lambda leaf: leaf[i], flow)"
        )
    (checked,), context = flow._checked("z" if forward else "x", (values,), context)
    rank, rows = len(flow.event_shape), []
    for part in _parts(flow, forward):
        method, iterations = _method(part, checked, context, forward)
        result = _go(part, checked, context, forward, rank)
        back = _go(part, result, context, not forward, rank)
        rows.append(_row(part, method, iterations, checked, back))
        checked = result
    return RoundTripReport(rows)


def _parts(part: Transform, forward: bool) -> Iterator[Transform]:
    """The layers in the order in which the direction applies them."""
    if not isinstance(part, Compose):
        yield part
        return
    for inner in part.layers if forward else reversed(part.layers):
        yield from _parts(inner, forward)


def _method(
    part: Transform, values: Array, context: Array | None, forward: bool
) -> tuple[str, int | None]:
    """How one layer finds the direction, and in how many iterations."""
    sequential = "sequential_forward" if forward else "sequential_inverse"
    if not isinstance(part, Autoregressive) or not getattr(part, sequential):
        newton = not forward and getattr(part, "iterative_inverse", False)
        return "newton" if newton else "closed form", None
    return part.method, part.iterations(values, context if part.context_dim else None)


def _go(part: Transform, values: Array, context: Array | None, forward: bool, rank: int) -> Array:
    apply = forward_part if forward else inverse_part
    return apply(part, values, context, rank)[0]


def _row(
    part: Transform, method: str, iterations: int | None, values: Array, back: Array
) -> LayerRoundTrip:
    residual = jnp.abs(values - back) / (1 + jnp.abs(values))
    return LayerRoundTrip(
        layer=type(part).__name__,
        method=method,
        iterations=iterations,
        residual=float(jnp.max(residual, initial=0)),
        tolerance=round_trip_tolerance(float(jnp.finfo(values.dtype).eps)),
    )
