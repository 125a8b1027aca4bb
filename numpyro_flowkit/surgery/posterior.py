"""The posteriors of all data points: one distribution, or one for each batch of an encoder."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array, lax
from jax.scipy.special import logsumexp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flowkit_core.surgery import consecutive, posterior_parts, rows_per_tile, slices
from numpyro_flowkit.spread import automatic, row_mesh
from numpyro_flowkit.surgery.gaussian_pairs import GaussianPairs, gaussian_params
from numpyro_flowkit.surgery.precision import float64, is_traced
from numpyro_flowkit.surgery.streamed import log_sum_of_pairs, plan_for

# Numbers that a flow's or another distribution's density holds for each latent of each pair: a
# guess, for a conditional flow with hidden layers of some ten times d.
_COPIES = 32

# Points of one call of a compiled program.
_POINTS = 8192


class Posterior:
    """``q(z | x_i)`` of n data points, in parts, and what surgery asks of them.

    Args:
        posterior: a distribution of batch shape (n,) and event shape (d,), or an iterable of such,
            which is read once.

    Raises:
        TypeError: for something else.
        ValueError: for other shapes, parts that do not fit together, or none.
    """

    def __init__(self, posterior: dist.Distribution | Iterable[dist.Distribution]) -> None:
        self.parts: list[dist.Distribution] = [
            automatic(part) for part in posterior_parts(posterior, dist.Distribution)
        ]
        self.sizes = [part.batch_shape[0] for part in self.parts]
        self.num_data = sum(self.sizes)
        self.dim: int = self.parts[0].event_shape[0]

    def rows(self) -> list[slice]:
        """Which data points each part has."""
        return consecutive(self.sizes)

    def sample(self, key: Array, num_samples: int) -> Array:
        """Draws (num_samples, n, d); differentiable where the distribution's are."""
        keys = jax.random.split(key, len(self.parts))
        draws = [p.sample(k, (num_samples,)) for p, k in zip(self.parts, keys, strict=True)]
        return jnp.concatenate(draws, 1)

    def sample_at_random(self, key: Array, count: int) -> Array:
        """Draws (count, d) of posteriors that are themselves drawn, with replacement."""
        of_rows, of_draws = jax.random.split(key)
        chosen = jax.random.randint(of_rows, (count,), 0, self.num_data)
        gaussian = [gaussian_params(part) for part in self.parts]
        kinds = {None if one is None else one[0] for one in gaussian}
        if len(kinds) == 1 and None not in kinds:
            columns = zip(*(one[1] for one in gaussian if one is not None), strict=True)
            params = (jnp.concatenate(column)[chosen] for column in columns)
            return next(kind for kind in kinds if kind is not None)(*params).draw(of_draws)
        # Any distribution can draw all of its rows.
        keys = jax.random.split(of_draws, count)
        return lax.map(lambda at: self.sample(at[0], 1)[0, at[1]], (keys, chosen))

    def means(self, z: Array) -> Array:
        """The mean of each, (n, d): by draws z (num_samples, n, d) where it is not known."""
        found = []
        for part, rows in zip(self.parts, self.rows(), strict=True):
            gaussian = gaussian_params(part)
            found.append(z[:, rows].mean(0) if gaussian is None else gaussian[1][0])
        return jnp.concatenate(found)

    def log_prob(self, z: Array) -> Array:
        """``log q(z_i | x_i)``, (..., n), of points (..., n, d), each under its own posterior."""
        found = [
            _own_log_prob(part, z[..., rows, :])
            for part, rows in zip(self.parts, self.rows(), strict=True)
        ]
        return _wide(found)

    def log_sum(
        self, z: Array, *, memory_limit: int, progress: Callable[[int], Any] | None = None
    ) -> Array:
        """``logsumexp_j log q(z_i | x_j)`` over all n, (m,), of points (m, d).

        In float64, unless it is being traced with JAX's x64 flag off.
        """
        mesh = None if is_traced(z, self.parts) else row_mesh((z, self.parts))
        found = []
        kinds: dict[type[GaussianPairs], list[tuple[Array, ...]]] = {}
        for part in self.parts:
            gaussian = gaussian_params(part)
            if gaussian is not None:
                kinds.setdefault(gaussian[0], []).append(gaussian[1])
            else:
                found.append(_log_sum_of_any(part, z, mesh, memory_limit, progress))
        for kind, params in kinds.items():
            joined = tuple(jnp.concatenate(column) for column in zip(*params, strict=True))
            found.append(_log_sum_of_gaussians(kind, joined, z, mesh, memory_limit, progress))
        return found[0] if len(found) == 1 else _in_float64(_log_of_sum, *found)

    def average(self, log_sum: Array) -> Array:
        """A sum over all n as a mean."""
        return _in_float64(lambda total: total - math.log(self.num_data), log_sum)


def _log_of_sum(*parts: Array) -> Array:
    return logsumexp(jnp.stack(parts), 0)


def _wide(parts: list[Array]) -> Array:
    return _in_float64(lambda *parts: jnp.concatenate(parts, -1), *parts)


def _in_float64(function: Callable[..., Array], *arrays: Any) -> Array:
    """``function(*arrays)`` in float64, unless in a trace, where the precision is the caller's."""
    if is_traced(arrays):
        wide = jax.dtypes.canonicalize_dtype(jnp.float64)
        return function(*(jnp.asarray(a, wide) for a in arrays))
    with float64():
        return function(*(jnp.asarray(a, jnp.float64) for a in arrays))


def _own_log_prob(part: dist.Distribution, z: Array) -> Array:
    """In float64 where the density is known; the own draw's rounding would not average out."""
    gaussian = gaussian_params(part)
    if gaussian is None:
        return part.log_prob(z)
    return _in_float64(partial(_own_of_gaussians, gaussian[0]), z, *gaussian[1])


@partial(jax.jit, static_argnums=0)
def _own_of_gaussians(kind: type[GaussianPairs], z: Array, *params: Array) -> Array:
    flat = z.reshape(-1, *z.shape[-2:])
    return lax.map(kind(*params).own, flat).reshape(z.shape[:-1])


@partial(jax.jit, static_argnums=(0, 1, 2))
def _compiled(
    score: Callable[..., Array], how: Any, mesh: Mesh | None, z: Array, posterior: Any
) -> Array:
    """``score(how, z, posterior)``, (m,); on several devices each scores some of the points.

    Inside of ``shard_map`` no device asks another one, compiled sweeps of flows included.
    """
    if mesh is None:
        return score(how, z, posterior)
    mapped = jax.shard_map(
        partial(score, how), mesh=mesh, in_specs=(_ROWS, PartitionSpec()), out_specs=_ROWS,
        check_vma=False,
    )  # fmt: skip
    scores: Array = mapped(z, posterior)
    return scores


_ROWS = PartitionSpec("rows")


def _in_chunks(
    score: Callable[[Array], Array],
    z: Array,
    mesh: Mesh | None,
    num_data: int,
    progress: Callable[[int], Any] | None,
) -> Array:
    """The scores (m,) of points, some at a time, spread over the mesh."""
    found = []
    for rows in slices(len(z), _POINTS * (1 if mesh is None else mesh.size)):
        points, count = z[rows], rows.stop - rows.start
        if mesh is not None:
            points = jnp.pad(points, ((0, -count % mesh.size), (0, 0)), mode="edge")
            points = jax.device_put(points, NamedSharding(mesh, _ROWS))
        found.append(score(points)[:count])
        if progress is not None:
            found[-1].block_until_ready()
            progress(count * num_data)
    return _wide(found) if found else jnp.zeros(0)


def _everywhere(posterior: Any, mesh: Mesh | None) -> Any:
    """A whole copy on each device, which is linear in the number of data points."""
    if mesh is None:
        return posterior
    return jax.device_put(posterior, NamedSharding(mesh, PartitionSpec()))


def _per_device(count: int, mesh: Mesh | None) -> int:
    return count if mesh is None else count // mesh.size


def _log_sum_of_gaussians(
    kind: type[GaussianPairs],
    params: tuple[Array, ...],
    z: Array,
    mesh: Mesh | None,
    memory_limit: int,
    progress: Callable[[int], Any] | None,
) -> Array:
    everywhere = _everywhere(params, mesh)

    def score(points: Array) -> Array:
        plan = plan_for(kind, params, _per_device(len(points), mesh), memory_limit)
        return _in_float64(
            lambda points, *params: _compiled(log_sum_of_pairs, plan, mesh, points, params),
            points, *everywhere,
        )  # fmt: skip

    return _in_chunks(score, z, mesh, len(params[0]), progress)


def _log_sum_by_rows(size: int, z: Array, part: dist.Distribution) -> Array:
    def score(points: Array) -> Array:
        return logsumexp(part.log_prob(points[:, None]), 1)

    tiles = jnp.pad(z, ((0, -len(z) % size), (0, 0)), mode="edge").reshape(-1, size, z.shape[-1])
    # A gradient computes the pairs anew rather than to hold them all.
    return lax.map(jax.checkpoint(score), tiles).reshape(-1)[: len(z)]


def _log_sum_of_any(
    part: dist.Distribution,
    z: Array,
    mesh: Mesh | None,
    memory_limit: int,
    progress: Callable[[int], Any] | None,
) -> Array:
    """The same for any distribution: some points against all data points of a batch at once."""
    count = part.batch_shape[0]
    size = rows_per_tile(_COPIES * count * z.shape[-1] * z.dtype.itemsize, memory_limit)
    everywhere = _everywhere(part, mesh)

    def score(points: Array) -> Array:
        rows = min(size, _per_device(len(points), mesh))
        return _compiled(_log_sum_by_rows, rows, mesh, points, everywhere)

    return _in_chunks(score, z, mesh, count, progress)
