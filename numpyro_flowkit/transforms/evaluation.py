"""Calling a flow's hooks: as one compiled program, in each flow of a batch of flows."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from numpyro_flowkit.spread import in_pieces

if TYPE_CHECKING:
    from numpyro_flowkit.transforms.base import Flow

Hook = Callable[..., tuple[Array, ...]]


def evaluated(hook: Hook, flow: "Flow", values: tuple[Array, ...], context: Array | None) -> Any:
    """Call a hook of a flow, compiled as a whole where nothing of a user's own is inside.

    Called outside of ``jit``, a flow is then one program instead of hundreds of tiny ones, each of
    which JAX would compile on its own. A user's part need not be a proper pytree.

    Args:
        hook: an unbound method such as ``_forward_and_log_det``, called with the flow.
        flow: one flow, or a batch of flows.
        values: points and, for a score, that; checked, and broadcast to the full batch shape.
        context: (..., context_dim), checked, or None.

    Returns:
        What the hook returns.
    """
    if flow.spec is None:
        return _over_flows(hook, flow, values, context)
    return _compiled(hook, flow, values, context)


@functools.partial(jax.jit, static_argnums=0)
def _compiled(hook: Hook, flow: "Flow", values: tuple[Array, ...], context: Array | None) -> Any:
    rank = len(flow.event_shape)
    batch = [(value, rank) for value in values]
    if context is not None:
        batch.append((context, 1))
    ranks = (rank, 0, rank)[: 1 + len(values)]  # point, log_det, and the score
    whole = functools.partial(_over_flows, hook)
    return in_pieces(whole, batch, jax.tree.leaves(flow), ranks)(flow, values, context)


def _over_flows(hook: Hook, flow: "Flow", values: tuple[Array, ...], context: Array | None) -> Any:
    """Call a hook, mapping over the flow's own batch dimensions if it has any."""
    depth = len(flow.batch_shape)
    if depth == 0:
        return hook(flow, *values, context)
    rank = len(flow.event_shape)
    if context is not None:
        batch = values[0].shape[:-rank]
        context = jnp.broadcast_to(context, (*batch, flow.context_dim))
    # The outermost batch dimension of the flow, in arrays of points.
    axis = -depth - rank
    out_axes = (axis, -depth, axis)[: 1 + len(values)]
    one = functools.partial(_over_flows, hook)
    return jax.vmap(one, in_axes=(0, axis, -depth - 1), out_axes=out_axes)(flow, values, context)
