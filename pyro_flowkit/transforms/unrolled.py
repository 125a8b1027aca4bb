"""The sequential direction by plain operations, where torch keeps our own rule out.

That is under `torch.jit.trace`, which would record the iterations that one batch happened to need,
and under nested forward mode.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_flowkit.transforms.checks import tracing


def needs_unrolling() -> bool:
    """Whether a trace or a nested forward-mode derivative is under way."""
    return tracing() or _nested_forward_mode()


def _nested_forward_mode() -> bool:
    """Whether two or more forward-mode derivatives are under way, as in ``jacfwd(jacfwd(f))``.

    torch switches forward mode off inside the ``jvp`` of an autograd function, so the outer
    derivative of such a function's tangent comes out as zero, without an error.
    """
    stack = torch._C._functorch.get_interpreter_stack()
    if stack is None:
        return False
    forward = torch._C._functorch.TransformType.Jvp
    return sum(level.key() == forward for level in stack) > 1


def unrolled(step: Callable[[Tensor], tuple[Tensor, Tensor]], v: Tensor) -> tuple[Tensor, Tensor]:
    """D steps, which are exact, each seen by whatever differentiates; returns u and -L.

    Cost: D passes of the network.

    Args:
        step: one Jacobi step, ``u -> p_u^-1(v)`` and its log-slopes, all (n, D).
        v: (n, D), in autoregressive order; also the first guess.
    """
    u, log_slope = v, torch.zeros_like(v)
    for _ in range(v.shape[-1]):
        u, log_slope = step(u)
    return u, log_slope.sum(-1)
