r"""Solutions of ``J a = b`` and ``J^T a = b`` that can be differentiated again and again.

J is the Jacobian of a layer's parallel map at u. From ``J(u, theta) a = b`` follows

    da = J^{-1} (db - dJ a),        b_bar = J^{-T} a_bar,    (u, theta)_bar = -grad <b_bar, J a>,

and the same with J and J^T exchanged: a solution's derivatives are solutions.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pyro_flowkit.transforms.triangular_solve import solve_triangular_system
from pyro_flowkit.transforms.vmap_loop import vmap_by_loop


class ParallelMap(Protocol):
    """A layer's parallel map as a function of everything that it depends on."""

    def parallel(self, u: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return v and the log-slopes dv/du of each coordinate, both (n, D)."""


def solve_jacobian(
    layer: ParallelMap, u: Tensor, right_side: Tensor, others: Sequence[Tensor], *, transpose: bool
) -> Tensor:
    """Solve with the Jacobian of the parallel map at u, or with its transpose.

    Args:
        layer: the layer.
        u: (n, D), in autoregressive order.
        right_side: (n, D).
        others: what the map depends on besides u.
        transpose: whether to solve with the transposed Jacobian.
    """
    (solution,) = _Solution.apply(layer, transpose, u, right_side, *others)
    return solution


def jacobian_product(
    layer: ParallelMap, u: Tensor, vector: Tensor, others: Sequence[Tensor], *, transpose: bool
) -> Tensor:
    """Multiply by the Jacobian of the parallel map at u, or by its transpose."""

    def mapped(u: Tensor) -> Tensor:
        return layer.parallel(u, others)[0]

    if transpose:
        _, pull = torch.func.vjp(mapped, u)  # type: ignore[misc]  # typed for has_aux too
        return pull(vector)[0]
    return torch.func.jvp(mapped, (u,), (vector,))[1]


class _Solution(torch.autograd.Function):
    """The solution as a function of the point, the right side and the weights."""

    @staticmethod
    def forward(
        layer: ParallelMap, transpose: bool, u: Tensor, right_side: Tensor, *others: Tensor
    ) -> tuple[Tensor]:
        _, log_slope = layer.parallel(u, others)

        def product(vector: Tensor) -> Tensor:
            return jacobian_product(layer, u, vector, others, transpose=transpose)

        return (solve_triangular_system(product, log_slope.exp(), right_side),)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor]) -> None:
        ctx.layer, ctx.transpose, u, _, *others = inputs
        ctx.save_for_backward(*output, u, *others)
        ctx.save_for_forward(*output, u, *others)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        layer, transpose = ctx.layer, ctx.transpose
        solution, u, *others = ctx.saved_tensors
        adjoint = solve_jacobian(layer, u, cotangent, others, transpose=not transpose)

        def weighted(u: Tensor, *others: Tensor) -> Tensor:
            product = jacobian_product(layer, u, solution, others, transpose=transpose)
            return -(product * adjoint).sum()

        _, pull = torch.func.vjp(  # type: ignore[misc]  # typed for has_aux too
            weighted, u, *others
        )
        d_u, *d_others = pull(cotangent.new_ones(()))
        return (None, None, d_u, adjoint, *d_others)

    @staticmethod
    def jvp(
        ctx: Any, _: Any, __: Any, d_u: Tensor, d_right: Tensor, *d_others: Tensor
    ) -> tuple[Tensor]:
        layer, transpose = ctx.layer, ctx.transpose
        solution, u, *others = ctx.saved_tensors

        def product(u: Tensor, *others: Tensor) -> Tensor:
            return jacobian_product(layer, u, solution, others, transpose=transpose)

        change = torch.func.jvp(product, (u, *others), (d_u, *d_others))[1]
        return (solve_jacobian(layer, u, d_right - change, others, transpose=transpose),)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        return vmap_by_loop(_Solution, info.batch_size, in_dims, args)
