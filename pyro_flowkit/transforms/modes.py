"""Which of torch's modes of evaluation is under way."""

import torch
from torch.autograd import forward_ad

from pyro_flowkit.transforms.checks import tracing


def nothing_recorded() -> bool:
    """Whether nobody can differentiate what is computed now: ``no_grad``, and no other mode."""
    return not (
        torch.is_grad_enabled()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def plainly_recorded() -> bool:
    """Whether a graph is recorded now that can be walked at once: by reverse mode and no other."""
    return torch.is_grad_enabled() and not (
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
        or tracing()
    )


def needs_unrolling() -> bool:
    """Whether a trace or a nested forward-mode derivative is under way.

    A trace would record the number of iterations that one batch happened to need. And torch
    switches forward mode off inside the ``jvp`` of an autograd function, so that in
    ``jacfwd(jacfwd(f))`` the outer derivative of its tangent is zero, without an error.
    """
    return tracing() or _nested_forward_mode()


def _nested_forward_mode() -> bool:
    stack = torch._C._functorch.get_interpreter_stack()
    if stack is None:
        return False
    forward = torch._C._functorch.TransformType.Jvp
    return sum(level.key() == forward for level in stack) > 1
