"""``log sum_j q(z_i | x_j)`` over all pairs, in tiles: the table of pairs is never held."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowkit_core.surgery import LOWEST, tile_shape
from numpyro_flowkit.surgery.gaussian_pairs import GaussianPairs

# Up to this rounding error, in nats, the matrix product will do.
_TOLERANCE = 1e-6

Params = tuple[Array, ...]


class Plan(NamedTuple):
    """What a compiled program is made for."""

    kind: type[GaussianPairs]
    rows: int
    columns: int


def plan_for(kind: type[GaussianPairs], params: Params, num_points: int, memory_limit: int) -> Plan:
    """Tiles within a limit, no larger than what there is."""
    rows, columns = tile_shape(kind(*params).num_features, memory_limit)
    # Powers of two, so that a few programs serve all numbers of points.
    needed = 1 << max(num_points - 1, 0).bit_length()
    return Plan(kind, min(rows, needed), min(columns, len(params[0])))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def log_sum_of_pairs(plan: Plan, z: Array, params: Params) -> Array:
    """``logsumexp_j log q(z_i | x_j)`` of points (m, d), with a gradient (reverse mode).

    A matrix product per tile and an online log-sum-exp; posteriors that are too narrow for a
    product's rounding are evaluated by differences, and in float32 so are all that are not very
    wide. The gradient computes the tiles anew.

    Args:
        plan: the family and its tiles.
        z: points (m, d), in the precision to compute in.
        params: of the family, location first, (n, ...) each, in the same precision.
    """
    return _forward(plan, z, params)


def _log_sum_fwd(plan: Plan, z: Array, params: Params) -> tuple[Array, Any]:
    out = _forward(plan, z, params)
    return out, (z, params, out)


def _log_sum_bwd(plan: Plan, kept: Any, gradient: Array) -> tuple[Array, Params]:
    z, params, out = kept
    return _backward(plan, z, params, out, gradient)


class _Tiles(NamedTuple):
    """Points and posteriors in tiles, padded; posteriors in order of narrowness."""

    points: Array  # (row tiles, rows, d)
    params: Params  # (column tiles, columns, ...) each
    order: Array  # (n,), which posterior lies where
    is_real: Array  # (column tiles, columns), False for padding
    is_narrow: Array  # (column tiles,), whether any of a tile needs differences


def _tiles(plan: Plan, z: Array, params: Params) -> _Tiles:
    if z.dtype == jnp.float64:
        # A common offset would cancel in vain. In float32 taking it off is a rounding that
        # differences do not need.
        centre = lax.stop_gradient(params[0].mean(0))
        z, params = z - centre, (params[0] - centre, *params[1:])
    count = len(params[0])
    points = _padded(z, plan.rows)
    largest = lax.map(lambda tile: abs(plan.kind(*params).statistics(tile)).max(0), points).max(0)
    pad = -count % plan.columns
    folded = tuple(_folded(p, plan.columns, pad) for p in params)
    error = lax.map(lambda tile: _rounding(plan.kind(*tile), largest), folded).reshape(-1)[:count]
    order = jnp.argsort(error)
    narrow = _folded(error[order], plan.columns, pad).max(-1) > _TOLERANCE
    real = (jnp.arange(count + pad) < count).reshape(-1, plan.columns)
    return _Tiles(
        points, tuple(_folded(p[order], plan.columns, pad) for p in params), order, real, narrow
    )


def _rounding(pairs: GaussianPairs, largest: Array) -> Array:
    """Error of a product: measured at a fifth of eps times the sum of the terms' sizes."""
    eta, constant = pairs.naturals()
    return (abs(eta) @ largest + abs(constant)) * jnp.finfo(eta.dtype).eps


def _padded(z: Array, rows: int) -> Array:
    return jnp.pad(z, ((0, -len(z) % rows), (0, 0))).reshape(-1, rows, z.shape[-1])


def _folded(values: Array, columns: int, pad: int) -> Array:
    """In tiles; the last entry stands for padding, so that no density there is singular."""
    padded = jnp.concatenate([values, jnp.broadcast_to(values[-1:], (pad, *values.shape[1:]))])
    return padded.reshape(-1, columns, *values.shape[1:])


def _table(plan: Plan, narrow: Array, real: Array, points: Array, params: Params) -> Array:
    """Log-densities (rows, columns) of a tile."""
    pairs = plan.kind(*params)
    found = lax.cond(narrow, pairs.by_differences, pairs.by_products, points)
    return jnp.where(real, found, -jnp.inf)


def _forward(plan: Plan, z: Array, params: Params) -> Array:
    tiles = _tiles(plan, z, params)

    def of_columns(carry: tuple[Array, Array], column: Any) -> tuple[tuple[Array, Array], None]:
        params, real, narrow = column

        def of_rows(row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            points, before, total = row
            table = _table(plan, narrow, real, points, params)
            now = jnp.maximum(before, table.max(1))
            # Of terms relative to the largest one, float32 keeps all that counts.
            terms = jnp.exp(jnp.maximum((table - now[:, None]).astype(jnp.float32), LOWEST))
            return now, total * jnp.exp(before - now) + terms.sum(1)

        return lax.map(of_rows, (tiles.points, *carry)), None

    shape = tiles.points.shape[:2]
    start = jnp.full(shape, -jnp.inf, z.dtype), jnp.zeros(shape, z.dtype)
    columns = tiles.params, tiles.is_real, tiles.is_narrow
    (largest, total), _ = lax.scan(of_columns, start, columns)
    return (largest + jnp.log(total)).reshape(-1)[: len(z)]


def _backward(
    plan: Plan, z: Array, params: Params, out: Array, gradient: Array
) -> tuple[Array, Params]:
    """``sum_i g_i w_ij d log q(z_i | x_j)`` with ``w_ij = exp(log q(z_i | x_j) - out_i)``."""
    tiles = _tiles(plan, z, params)
    out, gradient = (_padded(v[:, None], plan.rows)[..., 0] for v in (out, gradient))

    def of_columns(of_points: Array, column: Any) -> tuple[Array, Params]:
        params, real, narrow = column

        def of_rows(total: Params, row: Any) -> tuple[Params, Array]:
            points, out, gradient = row
            table, pull = jax.vjp(partial(_table, plan, narrow, real), points, params)
            weights = gradient[:, None] * jnp.exp(jnp.maximum(table - out[:, None], LOWEST))
            of_points, of_params = pull(jnp.where(real, weights, 0))
            return jax.tree.map(jnp.add, total, of_params), of_points

        start = jax.tree.map(jnp.zeros_like, params)
        found, more = lax.scan(of_rows, start, (tiles.points, out, gradient))
        return of_points + more, found

    columns = tiles.params, tiles.is_real, tiles.is_narrow
    of_points, of_params = lax.scan(of_columns, jnp.zeros_like(tiles.points), columns)
    count = len(params[0])
    back = jnp.argsort(tiles.order)
    of_params = tuple(p.reshape(-1, *p.shape[2:])[:count][back] for p in of_params)
    return of_points.reshape(-1, z.shape[-1])[: len(z)], of_params


log_sum_of_pairs.defvjp(_log_sum_fwd, _log_sum_bwd)
