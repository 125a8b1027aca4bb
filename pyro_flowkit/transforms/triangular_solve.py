"""Solve with the Jacobian of an autoregressive map, by products with it alone."""

from collections.abc import Callable

import torch
from torch import Tensor

# Stop once an update is below this many units of rounding, relative to the solution's size.
_TOLERANCE_IN_EPS = 32.0


def solve_triangular_system(
    product: Callable[[Tensor], Tensor], diagonal: Tensor, right_side: Tensor
) -> Tensor:
    """Solve ``A a = b`` for a triangular A (in some order) given as a function ``a -> A a``.

    Iterates ``a <- a + (b - A a) / diag(A)``. The iteration matrix is strictly triangular, so D
    steps are exact in any case; usually far fewer are needed, and the loop stops when the update
    is below rounding for every point of the batch.

    Args:
        product: multiplies (..., D) by A.
        diagonal: the diagonal of A, (..., D).
        right_side: b, (..., D).

    Returns:
        a of shape (..., D).

    References:
        Song et al., "Accelerating Feedforward Computation via Parallel Nonlinear Equation
        Solving", 2021, section 3 (Jacobi iteration).
    """
    solution = right_side / diagonal
    if solution.numel() == 0:
        return solution
    tolerance = _TOLERANCE_IN_EPS * torch.finfo(solution.dtype).eps
    # The start is the first iterate from zero, so D - 1 more are enough.
    for _ in range(solution.shape[-1] - 1):
        update = (right_side - product(solution)) / diagonal
        solution = solution + update
        size = solution.abs().amax(-1)
        # Written so that NaN does not count as converged: the cap ends the loop then.
        if bool((update.abs().amax(-1) <= tolerance * size).all()):
            break
    return solution
