r"""The sequential direction with implicit derivatives.

Let ``p(u; theta) = v`` be the parallel map of an autoregressive layer, J its triangular Jacobian
and L its log-determinant. The sequential direction returns u and -L. The implicit function theorem
gives their derivatives from one linearised pass, however u was found:

    J du = dv - (dp/dtheta) dtheta,        d(-L) = -(dL/du) du - (dL/dtheta) dtheta.

The solve is a ``lax.custom_linear_solve``, so it has a transpose, a derivative and a batching rule
of its own: ``grad``, ``jvp``, ``hessian`` and ``vmap`` all work, and reverse mode keeps the
activations of one pass, however many coordinates there are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.laws import Law
from numpyro_flowkit.transforms.law_params import ConditionerLike, law_params
from numpyro_flowkit.transforms.sweep import sweep
from numpyro_flowkit.transforms.triangular_solve import ROUNDING_ERRORS, solve_triangular_system


def parallel_map(
    conditioner: ConditionerLike, law: Law, free: Array | None, u: Array, context: Array | None
) -> tuple[Array, Array]:
    """``v = p(u)`` and the log-slope of each coordinate, both (..., D): one network pass."""
    return law.forward(u, law_params(conditioner, law, free, u, context, u.shape[-1]))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def sequential_map(
    conditioner: ConditionerLike, law: Law, free: Array | None, v: Array, context: Array | None
) -> tuple[Array, Array]:
    """Return u with ``p(u) = v``, (..., D), and ``log |det du/dv|``, (...).

    Args:
        conditioner: a MADE, which is swept, or any other autoregressive network.
        law: the law that the parallel map applies.
        free: the law's free parameters (num_free, D), or None.
        v: (..., D), in autoregressive order.
        context: (..., context_dim), or None.

    Cost: for a MADE the arithmetic of one pass in D small steps; for other networks at most D
    passes. Derivatives: one linearised pass and a few products with its Jacobian.
    """
    if isinstance(conditioner, MADE):
        return sweep(conditioner, law, free, v, context)
    return fixed_point(conditioner, law, free, v, context)


@partial(jax.jit, static_argnames="law")
def fixed_point(
    conditioner: ConditionerLike, law: Law, free: Array | None, v: Array, context: Array | None
) -> tuple[Array, Array]:
    """Jacobi iteration ``u <- p_u^-1(v)`` with the parameters taken at the last u.

    After j iterations the first j coordinates are exact, so D iterations are; it stops earlier
    where the update is lost in rounding.

    References:
        Song et al., "Accelerating Feedforward Computation via Parallel Nonlinear Equation
        Solving", 2021, section 3.
    """

    def step(u: Array) -> tuple[Array, Array]:
        return law.inverse(v, law_params(conditioner, law, free, u, context, u.shape[-1]))

    def unfinished(state: tuple[Array, Array, int]) -> Array:
        u, update, iteration = state
        tolerance = ROUNDING_ERRORS * jnp.finfo(u.dtype).eps
        size = jnp.max(jnp.abs(u), axis=-1, initial=0)
        moved = jnp.max(jnp.abs(update), axis=-1, initial=0) > tolerance * size
        return (iteration < v.shape[-1]) & jnp.any(moved)

    def improve(state: tuple[Array, Array, int]) -> tuple[Array, Array, int]:
        u, _, iteration = state
        new, _ = step(u)
        return new, new - u, iteration + 1

    first, _ = step(v)
    u, _, _ = lax.while_loop(unfinished, improve, (first, first - v, 1))
    # The log-slopes of the last iterate cost one pass more; they belong to the u returned.
    _, log_slope = step(u)
    return u, log_slope.sum(-1)


@sequential_map.defjvp
def _sequential_map_jvp(
    law: Law, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    conditioner, free, v, context = primals
    d_conditioner, d_free, d_v, d_context = tangents
    u, log_det = sequential_map(conditioner, law, free, v, context)

    def of_weights(net: ConditionerLike, free: Array | None, context: Array | None) -> Any:
        image, log_slope = parallel_map(net, law, free, u, context)
        return image, log_slope.sum(-1)

    def of_u(u: Array) -> tuple[tuple[Array, Array], Array]:
        image, log_slope = parallel_map(conditioner, law, free, u, context)
        return (image, log_slope.sum(-1)), log_slope

    _, (shift, log_det_shift) = jax.jvp(
        of_weights, (conditioner, free, context), (d_conditioner, d_free, d_context)
    )
    _, push, log_slope = jax.linearize(of_u, u, has_aux=True)
    diagonal = jnp.exp(log_slope)

    def solve(matvec: Callable[[Array], Array], right_side: Array) -> Array:
        return solve_triangular_system(matvec, diagonal, right_side)

    d_u = lax.custom_linear_solve(
        lambda a: push(a)[0], d_v - shift, solve=solve, transpose_solve=solve
    )
    return (u, log_det), (d_u, -push(d_u)[1] - log_det_shift)
