"""Affine layers at the end of a guide."""

import jax
import jax.numpy as jnp
from jax import Array

from flowkit_core.guide_layers import affine_spec
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
