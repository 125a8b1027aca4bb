"""What a guide is made of: a flow, and affine layers at its end."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from flowkit_core.guide_layers import affine_spec, check_flow_dims
from flowkit_core.specs import TriangularAffineSpec
from numpyro_flowkit.build import build
from numpyro_flowkit.transforms import Compose, Flow


def affine_layer(
    shift: Array, log_scale: Array, lower: Array | None = None, *, frozen: bool
) -> Flow:
    """``x = L z + shift``; L has the diagonal ``exp(log_scale)`` and the strict triangle of lower.

    Args:
        shift: (D,).
        log_scale: (D,).
        lower: (D, D), used up to `flowkit_core.guide_layers.MAX_TRIANGULAR_DIM` coordinates; zero
            by default.
        frozen: whether training leaves the layer as it is.
    """
    spec = affine_spec(len(shift), frozen=frozen)
    if not isinstance(spec, TriangularAffineSpec):
        return build(spec, {"log_scale": log_scale, "shift": shift})
    square = jnp.zeros((len(shift), len(shift)), shift.dtype)
    lower = square if lower is None else lower
    return build(spec, {"lower": lower, "log_diagonal": log_scale, "shift": shift})


def has_frame(transform: Compose) -> bool:
    """Whether a guide's frame is anything but the identity it starts as."""
    return any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(transform.layers[-1]))


def started_flow(init: Any, rng_key: Array, loc: Array, context_dim: int = 0) -> Flow:
    """The flow that a guide's ``flow=`` leads to, in the dtype of the latents.

    Args:
        init: what it returned.
        rng_key: of the first weights.
        loc: latents (D,), one for each coordinate of the flow.
        context_dim: of the flow.

    Raises:
        TypeError, ValueError: if it leads to no flow, or to one of other dimensions.
    """
    if not callable(init) or isinstance(init, Flow):
        raise TypeError(
            "flow: expected it to return what a recipe returns, a function from a key to a "
            f"Flow, got {type(init).__name__}"
        )
    flow = init(rng_key)
    if not isinstance(flow, Flow):
        raise TypeError(f"flow: expected it to lead to a Flow, got {type(flow).__name__}")
    check_flow_dims(flow.input_dim, flow.context_dim, expected=(len(loc), context_dim))
    started: Flow = jax.tree.map(lambda leaf: leaf.astype(loc.dtype), flow)
    return started
