"""The gradient of a log-sum-exp over all pairs: the tiles once more, weighted."""

from collections.abc import Iterable

import torch
from torch import Tensor

from flowkit_core.surgery import LOWEST, NEGLIGIBLE
from pyro_flowkit.surgery.gaussian_pairs import GaussianPairs


def pulled_back(
    z: Tensor,
    pairs: GaussianPairs,
    columns: Iterable[tuple[slice, list[Tensor], bool]],
    out: Tensor,
    gradient: Tensor,
    *,
    of_points: bool,
    of_params: bool,
) -> tuple[Tensor | None, list[Tensor | None]]:
    """``sum_i g_i w_ij d log q(z_i | x_j)`` with ``w_ij = exp(log q(z_i | x_j) - out_i)``.

    Args:
        z: points (m, d).
        pairs: the Gaussians.
        columns: (Gaussians, indices of the points of each tile, by products?).
        out: the sums, (m,).
        gradient: g, (m,).
        of_points: whether the points' gradient is wanted.
        of_params: whether the parameters' is.

    Returns:
        Gradients of the points and of each parameter; None for what is not wanted.
    """
    points_total = torch.zeros_like(z) if of_points else None
    totals = [torch.zeros_like(param) if of_params else None for param in pairs.params]
    for part, tiles, by_products in columns:
        column = _Column(pairs.take(part))
        for rows in tiles:
            points = z[rows]
            weights = column.weighted(points, out[rows], gradient[rows], by_products=by_products)
            if weights is None:
                continue
            found = column.pull(
                points, weights, by_products, of_points=of_points, of_params=of_params
            )
            if points_total is not None and found is not None:
                points_total[rows] += found
        for total, one in zip(totals, column.finished() if of_params else [], strict=False):
            if total is not None:
                total[part] = one
    return points_total, totals


class _Column:
    """Some posteriors, with what has come together for them from the rows so far."""

    def __init__(self, pairs: GaussianPairs) -> None:
        self.params = [param.detach().requires_grad_() for param in pairs.params]
        self.pairs = type(pairs)(*self.params)
        self.by_differences: list[Tensor] | None = None
        # Natural parameters, and their gradients, which come first.
        self.naturals: tuple[Tensor, Tensor] | None = None
        self.of_naturals: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def weighted(
        self, z: Tensor, out: Tensor, gradient: Tensor, *, by_products: bool
    ) -> Tensor | None:
        """``g_i w_ij`` of a tile; None if all weights are negligible."""
        if by_products:
            if self.naturals is None:
                with torch.enable_grad():
                    self.naturals = self.pairs.naturals()
            eta, constant = self.naturals
            tile = torch.addmm(constant, self.pairs.statistics(z), eta.T)
        else:
            tile = self.pairs.by_differences(z)
        tile.sub_(out[:, None])
        if bool(tile.amax() < NEGLIGIBLE):
            return None
        return tile.clamp_(min=LOWEST).exp_().mul_(gradient[:, None])

    def pull(
        self, z: Tensor, weights: Tensor, by_products: bool, *, of_points: bool, of_params: bool
    ) -> Tensor | None:
        """The points' gradient of a tile; the parameters' is kept until `finished`."""
        with torch.enable_grad():
            points = z.detach().requires_grad_()
            if by_products:
                return self._pull_products(points, weights, of_points, of_params)
            wanted = [*([points] if of_points else []), *(self.params if of_params else [])]
            found = list(torch.autograd.grad(self.pairs.by_differences(points), wanted, weights))
        of_z = found.pop(0) if of_points else None
        if of_params:
            before = self.by_differences
            self.by_differences = (
                found if before is None else [a + b for a, b in zip(before, found, strict=True)]
            )
        return of_z

    def _pull_products(
        self, points: Tensor, weights: Tensor, of_points: bool, of_params: bool
    ) -> Tensor | None:
        assert self.naturals is not None  # made by `weighted`
        statistics = self.pairs.statistics(points)
        if of_params:
            found = weights.T @ statistics.detach(), weights.sum(0)
            before = self.of_naturals
            self.of_naturals = (
                found if before is None else (before[0] + found[0], before[1] + found[1])
            )
        if not of_points:
            return None
        of_statistics = weights @ self.naturals[0].detach()
        return torch.autograd.grad(statistics, points, of_statistics)[0]

    def finished(self) -> list[Tensor]:
        """The parameters' gradients; none if nothing has come."""
        if self.by_differences is not None:
            return self.by_differences
        if self.naturals is None or self.of_naturals is None:
            return []
        return list(torch.autograd.grad(self.naturals, self.params, self.of_naturals))
