"""The sequential direction of an autoregressive layer, by either method, with its derivatives."""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.laws import Law
from numpyro_flowkit.transforms.law_params import ConditionerLike
from numpyro_flowkit.transforms.made_equations import apply_law, states_at
from numpyro_flowkit.transforms.made_solver import pull_made, solve_made
from numpyro_flowkit.transforms.network_solver import parallel_map, solve_network
from numpyro_flowkit.transforms.triangular_solve import solve_triangular_system


def sequential_map(
    conditioner: ConditionerLike,
    law: Law,
    free: Array | None,
    v: Array,
    context: Array | None,
    *,
    method: str,
) -> tuple[Array, Array]:
    """Return u whose parallel image is v, (..., D), and ``log |det du/dv|``, (...).

    Args:
        conditioner: a MADE, or with "fixed_point" any autoregressive network.
        law: the law that the parallel map applies.
        free: the law's free parameters (num_free, D), or None.
        v: (..., D), in autoregressive order.
        context: (..., context_dim), its batch dimensions broadcast against those of v; or None.
        method: "sweep" or "fixed_point".

    Cost: with "sweep" the arithmetic of one pass in D small steps, and as much again for the
    derivatives; with "fixed_point" at most D passes, see `network_solver`.
    """
    if method == "fixed_point":
        return solve_network(conditioner, law, free, v, context)
    assert isinstance(conditioner, MADE)
    batch = v.shape[:-1]
    given = None if context is None else to_columns(context, batch)
    state, log_det = solve_made(law, conditioner, free, to_columns(v, batch), given)
    return from_columns(state.positions, batch), log_det.reshape(batch)


def pull_sequential(
    conditioner: ConditionerLike,
    law: Law,
    free: Array | None,
    u: Array,
    context: Array | None,
    cotangent: Array,
) -> Array:
    """``J^-T (cotangent - grad L)``, J and L those of the parallel map at u; no derivative rules.

    Args:
        conditioner: a MADE, or any autoregressive network.
        law: the law that the parallel map applies.
        free: the law's free parameters (num_free, D), or None.
        u: (..., D), in autoregressive order.
        context: (..., context_dim), or None.
        cotangent: (..., D).

    Cost: a MADE takes one pass and a sweep backwards; another network at most D products with the
    transposed Jacobian.
    """
    if isinstance(conditioner, MADE):
        return map_and_pull(conditioner, law, free, u, context, cotangent)[2]

    def parallel(u: Array) -> tuple[tuple[Array, Array], Array]:
        v, log_slope = parallel_map(conditioner, law, free, u, context)
        return (v, log_slope.sum(-1)), log_slope

    (v, log_det), pull, log_slope = jax.vjp(parallel, u, has_aux=True)
    (log_det_gradient,) = pull((jnp.zeros_like(v), jnp.ones_like(log_det)))
    return solve_triangular_system(
        lambda a: pull((a, jnp.zeros_like(log_det)))[0],
        jnp.exp(log_slope),
        cotangent - log_det_gradient,
    )


def map_and_pull(
    net: MADE, law: Law, free: Array | None, u: Array, context: Array | None, cotangent: Array
) -> tuple[Array, Array, Array]:
    """The parallel map, and what `pull_sequential` yields, by one pass of the network.

    Shapes: u and cotangent (..., D), context (..., context_dim), its batch dimensions broadcast
    against theirs.

    Returns:
        the image (..., D), the log-determinant (...), and ``J^-T (cotangent - grad L)``, (..., D),
        which has no derivative.
    """
    batch = u.shape[:-1]
    given = None if context is None else to_columns(context, batch)
    # By feature from the start, as the way back wants it: to transpose what a pass by points has
    # found takes longer than its masked products save.
    state = states_at(net, given, to_columns(u, batch))
    v, log_slope = apply_law(law, free, state)
    net, free, state, cotangent = lax.stop_gradient((net, free, state, cotangent))
    pulled = pull_made(law, net, free, state, to_columns(cotangent, batch))
    log_det = log_slope.sum(0).reshape(batch)
    return from_columns(v, batch), log_det, from_columns(pulled, batch)


def to_columns(values: Array, batch: tuple[int, ...]) -> Array:
    """(..., n) of B points as (n, B), or (n, 1) where it is the same for all points."""
    if values.ndim == 1 and batch:
        return values[:, None]
    full = jnp.broadcast_to(values, (*batch, values.shape[-1]))
    return full.reshape(math.prod(batch), values.shape[-1]).T


def from_columns(columns: Array, batch: tuple[int, ...]) -> Array:
    """(n, B) as (..., n)."""
    return columns.T.reshape(*batch, len(columns))
