"""The sequential direction by plain operations, where torch keeps our own rule out."""

from collections.abc import Callable

import torch
from torch import Tensor


def unrolled(step: Callable[[Tensor], tuple[Tensor, Tensor]], v: Tensor) -> tuple[Tensor, Tensor]:
    """D steps, which are exact, each seen by whatever differentiates or traces; returns u and -L.

    Cost: D passes of the network. See `modes.needs_unrolling` for when that is the price.

    Args:
        step: one Jacobi step, ``u -> p_u^-1(v)`` and its log-slopes, all (n, D).
        v: (n, D), in autoregressive order; also the first guess.
    """
    u, log_slope = v, torch.zeros_like(v)
    for _ in range(v.shape[-1]):
        u, log_slope = step(u)
    return u, log_slope.sum(-1)
