r"""The sequential direction by a fixed point, with implicit derivatives: any network.

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

from numpyro_flowkit.laws import Law
from numpyro_flowkit.transforms.law_params import ConditionerLike, law_params
from numpyro_flowkit.transforms.solver import fixed_point
from numpyro_flowkit.transforms.triangular_solve import solve_triangular_system


def parallel_map(
    conditioner: ConditionerLike, law: Law, free: Array | None, u: Array, context: Array | None
) -> tuple[Array, Array]:
    """``v = p(u)`` and the log-slope of each coordinate, both (..., D): one network pass."""
    return law.forward(u, law_params(conditioner, law, free, u, context, u.shape[-1]))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def solve_network(
    conditioner: ConditionerLike, law: Law, free: Array | None, v: Array, context: Array | None
) -> tuple[Array, Array]:
    """Return u with ``p(u) = v``, (..., D), and ``log |det du/dv|``, (...).

    Args: see `implicit.sequential_map`.

    Cost: at most D passes. Derivatives: one linearised pass and at most D products with it.
    """
    found = fixed_point(conditioner, law, free, v, context)
    return found.u, found.log_slope.sum(-1)


@solve_network.defjvp
def _solve_network_jvp(
    law: Law, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    conditioner, free, v, context = primals
    d_conditioner, d_free, d_v, d_context = tangents
    u, log_det = solve_network(conditioner, law, free, v, context)

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
