"""Linear systems whose matrix is triangular but known only by its products."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from flowkit_core.numerics import STOP_ROUNDING_ERRORS


def solve_triangular_system(
    matvec: Callable[[Array], Array], diagonal: Array, right_side: Array
) -> Array:
    """Solve ``J a = b`` for a triangular J by the fixed point ``a <- a + (b - J a) / diag J``.

    The error is multiplied by a strictly triangular, hence nilpotent, matrix in each iteration: at
    most D products are exact, and a few suffice unless J is far from diagonal. Each sample stops
    counting once its update is lost in rounding; a sample that is not finite stops at once.

    Shapes: diagonal and right_side (..., D); each row is a system of its own.

    Args:
        matvec: ``a -> J a``, row by row.
        diagonal: the diagonal of J.
        right_side: b.

    Cost: one product per iteration. Not differentiable in reverse mode: wrap it in
    ``lax.custom_linear_solve``.

    References:
        The systems are those of the implicit function theorem; the iteration is Jacobi's
        (Song et al., "Accelerating Feedforward Computation via Parallel Nonlinear Equation
        Solving", 2021, section 3).

    Example:
        >>> lower = jnp.array([[2.0, 0.0], [1.0, 4.0]])
        >>> a = solve_triangular_system(
        ...     lambda a: a @ lower.T, jnp.diagonal(lower), jnp.array([2.0, 9.0])
        ... )
        >>> a.tolist()
        [1.0, 2.0]
    """
    tolerance = STOP_ROUNDING_ERRORS * jnp.finfo(right_side.dtype).eps
    cap = right_side.shape[-1]

    def unfinished(state: tuple[Array, Array, int]) -> Array:
        solution, update, iteration = state
        size = jnp.max(jnp.abs(solution), axis=-1, initial=0)
        moved = jnp.max(jnp.abs(update), axis=-1, initial=0) > tolerance * size
        return (iteration < cap) & jnp.any(moved)

    def improve(state: tuple[Array, Array, int]) -> tuple[Array, Array, int]:
        solution, _, iteration = state
        update = (right_side - matvec(solution)) / diagonal
        return solution + update, update, iteration + 1

    start = right_side / diagonal
    solution, _, _ = lax.while_loop(unfinished, improve, (start, start, 1))
    return solution
