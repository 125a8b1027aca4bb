"""``log sum_j q(z_i | x_j)`` over all pairs, in tiles: the table of pairs is never held."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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
        columns = list(_columns(pairs, num_good, shape, memory_limit))
        # Which terms the gradient can leave out, as long as the record is no larger than a tile.
        fits = 8 * len(columns) * len(z) <= memory_limit
        highest = z.new_empty(len(columns), len(z)) if fits and any(ctx.needs_input_grad) else None
        out = _forward(z, pairs, columns, shape, highest, progress)
        ctx.save_for_backward(z, order, out, highest, *params)
        ctx.how = kind, columns
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True: what follows would count as constant
            raise NotImplementedError(
                "log_prob of an aggregated posterior: second derivatives are not implemented"
            )
        z, order, out, highest, *params = ctx.saved_tensors
        kind, columns = ctx.how
        wanted = ctx.needs_input_grad
        of_points, of_params = pulled_back(
            z,
            kind(*params).take(order),
            _with_live_rows(columns, out, highest),
            out,
            gradients[0],
            of_points=wanted[0],
            of_params=any(wanted[4:]),
        )
        # Back to the order in which they came.
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        return of_points, None, None, None, *(None if p is None else p[back] for p in of_params)


class _Columns(NamedTuple):
    """Some of the posteriors, one after the other."""

    part: slice
    height: int  # points of a tile
    by_products: bool


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


def _columns(
    pairs: GaussianPairs, num_good: int, shape: tuple[int, int], memory_limit: int
) -> Iterator[_Columns]:
    for part in slices(num_good, shape[1]):
        yield _Columns(part, shape[0], by_products=True)
    # By differences a tile holds d numbers for each pair, of which a few copies exist.
    pairs_at_once = max(memory_limit // (32 * pairs.dim), 1)
    width = min(shape[1], pairs_at_once)
    height = max(min(shape[0], pairs_at_once // width), 1)
    for part in slices(pairs.num - num_good, width):
        shifted = slice(part.start + num_good, part.stop + num_good)
        yield _Columns(shifted, height, by_products=False)


def _forward(
    z: Tensor,
    pairs: GaussianPairs,
    columns: list[_Columns],
    shape: tuple[int, int],
    highest: Tensor | None,
    progress: Callable[[int], Any] | None,
) -> Tensor:
    """The sums; ``highest`` (columns, m) is filled with each point's largest term of each."""
    largest = z.new_full((len(z),), -math.inf)
    total = z.new_zeros(len(z))
    eta = constant = z
    table = z.new_empty(shape[0] * shape[1])
    for index, (part, height, by_products) in enumerate(columns):
        here = pairs.take(part)
        if by_products:
            eta, constant = here.naturals()
        for rows in slices(len(z), height):
            points = z[rows]
            if by_products:
                # New memory for every tile would be paged in every time.
                tile = table[: len(points) * here.num].view(len(points), here.num)
                torch.addmm(constant, here.statistics(points), eta.T, out=tile)
            else:
                tile = here.by_differences(points)
            before, top = largest[rows], tile.amax(1)
            if highest is not None:
                highest[index, rows] = top
            if not bool((top - before < NEGLIGIBLE).all()):
                now = torch.maximum(before, top)
                # Of terms relative to the largest one, float32 keeps all that counts.
                terms = tile.sub_(now[:, None]).to(torch.float32).clamp_(min=LOWEST).exp_()
                total[rows] = total[rows] * torch.exp(before - now) + terms.sum(1)
                largest[rows] = now
            if progress is not None:
                progress(len(points) * here.num)
    return largest + total.log()


def _with_live_rows(
    columns: list[_Columns], out: Tensor, highest: Tensor | None
) -> Iterator[tuple[slice, list[Tensor], bool]]:
    """(columns, points of each tile, by products?): the points to which a column counts."""
    everything = torch.arange(len(out), device=out.device)
    for index, (part, height, by_products) in enumerate(columns):
        live = everything if highest is None else everything[highest[index] - out >= NEGLIGIBLE]
        if len(live):
            yield part, list(live.split(height)), by_products
