"""The sequential direction of an autoregressive layer, by either method, with its derivatives."""

import math

import jax.numpy as jnp
from jax import Array

from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.laws import Law
from numpyro_flowkit.transforms.law_params import ConditionerLike
from numpyro_flowkit.transforms.made_solver import solve_made
from numpyro_flowkit.transforms.network_solver import solve_network


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


def to_columns(values: Array, batch: tuple[int, ...]) -> Array:
    """(..., n) of B points as (n, B), or (n, 1) where it is the same for all points."""
    if values.ndim == 1 and batch:
        return values[:, None]
    full = jnp.broadcast_to(values, (*batch, values.shape[-1]))
    return full.reshape(math.prod(batch), values.shape[-1]).T


def from_columns(columns: Array, batch: tuple[int, ...]) -> Array:
    """(n, B) as (..., n)."""
    return columns.T.reshape(*batch, len(columns))
