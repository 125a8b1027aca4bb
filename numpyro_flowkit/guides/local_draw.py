"""A draw of local latents from a conditional flow, with its log-density."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from numpyro_flowkit.transforms import Flow


def draw_rows(
    flow: Flow,
    z: Array,
    encoded: Array | None,
    shared: Array | None,
    standardise: Callable[[Array], Array],
    *,
    path_gradient: bool,
) -> tuple[Array, Array]:
    """``x = flow(z; c)`` and ``-log |det dx/dz|``, the context c made of two parts.

    c is what an encoder makes of a row's data, and the global latents g that all rows share:
    ``c = (encoded, standardise(g))``.

    With ``path_gradient=True`` the second result has the gradient of ``log q(x | g)`` as a function
    of the draws x and g alone: that by the weights (of flow, encoder and ``standardise``) has mean
    zero and is left out. That by g at fixed x counts, since g is a draw, too: only then does the
    gradient vanish where q is the posterior. At a fixed z
    ``d/dg log q(x | g) = -d/dg log |det dx/dz| - score . dx/dg``, score = d log q(x | g) / dx.

    Args:
        flow: of input_dim numbers per row, with context.
        z: standard Normal draws (..., d).
        encoded: (..., E), or None without an encoder.
        shared: packed global latents (..., G), or None if there are none.
        standardise: to coordinates of order one, from those of the model.
        path_gradient: which gradient; the values are the same.
    """
    context = _context(z, encoded, shared, standardise)
    if not path_gradient:
        x, log_det = flow.forward_and_log_det(z, context)
        return x, -log_det
    x, log_det, score = flow.forward_and_score(z, -z, context)
    log_density = -lax.stop_gradient(log_det) + _zero_with_gradient(score, x)
    if shared is not None:
        shared = jnp.broadcast_to(shared, (*z.shape[:-1], shared.shape[-1]))
        # Of weights and encodings as they are: nothing below is differentiated by them.
        fixed_flow, fixed_z, fixed, fixed_score = lax.stop_gradient((flow, z, encoded, score))

        def along_globals(at: Array) -> Array:
            context = _context(fixed_z, fixed, at, standardise)
            moved, log_det = fixed_flow.forward_and_log_det(fixed_z, context)
            return -log_det.sum() - (fixed_score * moved).sum()

        slope = jax.grad(along_globals)(lax.stop_gradient(shared))
        log_density = log_density + _zero_with_gradient(slope, shared)
    return x, log_density


def _zero_with_gradient(gradient: Array, at: Array) -> Array:
    """Zero, with this gradient by ``at``."""
    return (lax.stop_gradient(gradient) * (at - lax.stop_gradient(at))).sum(-1)


def _context(
    z: Array,
    encoded: Array | None,
    shared: Array | None,
    standardise: Callable[[Array], Array],
) -> Array | None:
    parts = [] if encoded is None else [encoded]
    if shared is not None:
        parts.append(standardise(shared))
    if not parts:
        return None
    return jnp.concatenate(
        [jnp.broadcast_to(part, (*z.shape[:-1], part.shape[-1])) for part in parts], -1
    )
