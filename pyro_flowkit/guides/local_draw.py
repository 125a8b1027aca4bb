"""A draw of local latents from a conditional flow, with its log-density."""

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_flowkit.transforms import Flow


def draw_rows(
    flow: Flow,
    z: Tensor,
    encoded: Tensor | None,
    shared: Tensor | None,
    standardise: Callable[[Tensor], Tensor],
    *,
    path_gradient: bool,
) -> tuple[Tensor, Tensor]:
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
    if not path_gradient or not torch.is_grad_enabled():
        x, log_det = flow.forward_and_log_det(z, _context(z, encoded, shared, standardise))
        return x, -log_det
    x, log_det, score = flow.forward_and_score(z, -z, _context(z, encoded, shared, standardise))
    log_density = -log_det.detach() + _zero_with_gradient(score, x)
    if shared is not None:
        at = shared.detach().expand(*z.shape[:-1], -1).clone().requires_grad_()
        fixed = None if encoded is None else encoded.detach()
        moved, log_det = flow.forward_and_log_det(z, _context(z, fixed, at, standardise))
        (slope,) = torch.autograd.grad(-log_det.sum() - (score * moved).sum(), at)
        log_density = log_density + _zero_with_gradient(slope, shared)
    return x, log_density


def _zero_with_gradient(gradient: Tensor, at: Tensor) -> Tensor:
    """Zero, with this gradient by ``at``."""
    return (gradient.detach() * (at - at.detach())).sum(-1)


def _context(
    z: Tensor,
    encoded: Tensor | None,
    shared: Tensor | None,
    standardise: Callable[[Tensor], Tensor],
) -> Tensor | None:
    parts = [] if encoded is None else [encoded]
    if shared is not None:
        parts.append(standardise(shared))
    spread = [part.expand(*z.shape[:-1], -1) for part in parts]
    return torch.cat(spread, -1) if spread else None
