"""``log sum_j q(z_i | x_j)`` over all pairs, in tiles: the table of pairs is never held."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flowkit_core.surgery import LOWEST, NEGLIGIBLE, slices, tile_shape
from pyro_flowkit.surgery.gaussian_pairs import GaussianPairs
from pyro_flowkit.surgery.pullback import pulled_back

# Up to this rounding error, in nats, the matrix product will do.
_TOLERANCE = 1e-6


def log_sum_of_pairs(
    z: Tensor,
    kind: type[GaussianPairs],
    params: tuple[Tensor, ...],
    *,
    memory_limit: int,
    progress: Callable[[int], Any] | None = None,
) -> Tensor:
    """``logsumexp_j log q(z_i | x_j)`` of points (m, d), in float64, with a gradient.

    A matrix product per tile and an online log-sum-exp; the few posteriors that are too narrow for
    a product's rounding are evaluated by differences. The gradient computes the tiles anew.

    Args:
        z: points (m, d).
        kind: the family, whose parameters follow.
        params: location first, (n, ...) each.
        memory_limit: bytes of a tile and what it is made of.
        progress: is told of the pairs done since the last time.
    """
    # A common offset would cancel in vain.
    centre = params[0].detach().to(torch.float64).mean(0)
    points = z.to(torch.float64) - centre
    wide = (params[0].to(torch.float64) - centre, *(p.to(torch.float64) for p in params[1:]))
    out: Tensor = _LogSumOfPairs.apply(points, kind, memory_limit, progress, *wide)
    return out


class _LogSumOfPairs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        kind: type[GaussianPairs],
        memory_limit: int,
        progress: Callable[[int], Any] | None,
        *params: Tensor,
    ) -> Tensor:
        pairs = kind(*params)
        shape = tile_shape(pairs.num_features, memory_limit)
        order, num_good = _narrow_last(z, pairs, shape)
        if num_good < pairs.num:
            pairs = pairs.take(order)
        out = _forward(z, pairs, num_good, shape, memory_limit, progress)
        ctx.save_for_backward(z, order, out, *params)
        ctx.how = kind, num_good, shape, memory_limit
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True: what follows would count as constant
            raise NotImplementedError(
                "log_prob of an aggregated posterior: second derivatives are not implemented"
            )
        z, order, out, *params = ctx.saved_tensors
        kind, num_good, shape, memory_limit = ctx.how
        wanted = ctx.needs_input_grad
        pairs = kind(*params)
        tiles = _tiles(len(z), pairs, num_good, shape, memory_limit)
        if num_good < pairs.num:
            pairs = pairs.take(order)
        of_points, of_params = pulled_back(
            z, pairs, tiles, out, gradients[0], of_points=wanted[0], of_params=any(wanted[4:])
        )
        # Back to the order in which they came.
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        return of_points, None, None, None, *(None if p is None else p[back] for p in of_params)


def _narrow_last(z: Tensor, pairs: GaussianPairs, shape: tuple[int, int]) -> tuple[Tensor, int]:
    """An order of the posteriors in which a product's rounding is too large from some place on."""
    if not len(z):
        return torch.arange(pairs.num, device=z.device), pairs.num
    largest = torch.stack(
        [pairs.statistics(z[rows]).abs().amax(0) for rows in slices(len(z), shape[0])]
    )
    largest = largest.amax(0)
    parts = []
    for part in slices(pairs.num, shape[1]):
        eta, constant = pairs.take(part).naturals()
        parts.append(eta.abs() @ largest + constant.abs())
    # Rounding of a sum of k products: measured at a fifth of eps times the sum of their sizes.
    bad = torch.cat(parts) * torch.finfo(torch.float64).eps > _TOLERANCE
    return torch.argsort(bad.to(torch.uint8), stable=True), int((~bad).sum())


def _tiles(
    num_rows: int, pairs: GaussianPairs, num_good: int, shape: tuple[int, int], memory_limit: int
) -> Any:
    """(columns, rows, by products?) of every tile, all rows of some columns after each other."""
    for part in slices(num_good, shape[1]):
        for rows in slices(num_rows, shape[0]):
            yield part, rows, True
    # By differences a tile holds d numbers for each pair, of which a few copies exist.
    pairs_at_once = max(memory_limit // (32 * pairs.dim), 1)
    columns = min(shape[1], pairs_at_once)
    height = max(min(shape[0], pairs_at_once // columns), 1)
    for part in slices(pairs.num - num_good, columns):
        shifted = slice(part.start + num_good, part.stop + num_good)
        for rows in slices(num_rows, height):
            yield shifted, rows, False


def _forward(
    z: Tensor,
    pairs: GaussianPairs,
    num_good: int,
    shape: tuple[int, int],
    memory_limit: int,
    progress: Callable[[int], Any] | None,
) -> Tensor:
    largest = z.new_full((len(z),), -math.inf)
    total = z.new_zeros(len(z))
    done, here = None, pairs
    eta = constant = z
    table = z.new_empty(shape[0] * shape[1])
    for part, rows, fast in _tiles(len(z), pairs, num_good, shape, memory_limit):
        if part != done:
            here, done = pairs.take(part), part
            if fast:
                eta, constant = here.naturals()
        points = z[rows]
        if fast:
            # New memory for every tile would be paged in every time.
            tile = table[: len(points) * here.num].view(len(points), here.num)
            torch.addmm(constant, here.statistics(points), eta.T, out=tile)
        else:
            tile = here.by_differences(points)
        before, highest = largest[rows], tile.amax(1)
        if not bool((highest - before < NEGLIGIBLE).all()):
            now = torch.maximum(before, highest)
            # Of terms relative to the largest one, float32 keeps all that counts.
            terms = tile.sub_(now[:, None]).to(torch.float32).clamp_(min=LOWEST).exp_()
            total[rows] = total[rows] * torch.exp(before - now) + terms.sum(1)
            largest[rows] = now
        if progress is not None:
            progress(len(points) * here.num)
    return largest + total.log()
