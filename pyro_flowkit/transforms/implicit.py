r"""The sequential direction with implicit derivatives of every order.

Let ``p(u; theta) = v`` be the parallel map of an autoregressive layer with triangular Jacobian J,
and L its log-determinant. The sequential direction returns u and -L. However u was found, the
implicit function theorem gives its derivatives from p alone:

    reverse   J^T a = g_u - g_l dL/du,   v_bar = a,   theta_bar = -(dp/dtheta)^T a - g_l dL/dtheta
    forward   J du = dv - (dp/dtheta) dtheta,         d(-L) = -(dL/du) du - (dL/dtheta) dtheta

The solutions of these linear systems are differentiated by the same theorem, so every order and
mode of derivative is there. A plain first-order backward pass takes a layer's own fast route.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pyro_flowkit.transforms.found import Solver
from pyro_flowkit.transforms.linear_solve import solve_jacobian
from pyro_flowkit.transforms.vmap_loop import vmap_by_loop


class AutoregressiveMap(Protocol):
    """What the implicit rule needs to know of a layer.

    ``others`` are all tensors that the map depends on besides its argument: the context if there
    is one, the law's free parameters if there are any, the weights of the network.
    """

    def parallel(self, u: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return v and the log-slopes dv/du of each coordinate, both (n, D)."""

    def solver(self, others: Sequence[Tensor], device: torch.device) -> Solver:
        """What finds u, and first-order gradients, without a graph."""


def sequential_map(
    layer: AutoregressiveMap, v: Tensor, others: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return u with ``p(u) = v``, (n, D), and ``log |det du/dv|``, (n,).

    Args:
        layer: the autoregressive layer.
        v: (n, D), in autoregressive order.
        others: see `AutoregressiveMap`.
    """
    u, log_det, *_ = _Sequential.apply(layer, torch.is_grad_enabled(), v, *others)
    return u, log_det


class _Sequential(torch.autograd.Function):
    """u and -L from v, and what the layer wants kept for the backward pass."""

    @staticmethod
    def forward(
        layer: AutoregressiveMap, keep: bool, v: Tensor, *others: Tensor
    ) -> tuple[Tensor, ...]:
        found = layer.solver(others, v.device).solve(v)
        return (found.u, found.log_det, *(found.kept if keep else ()))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        layer, _, _, *others = inputs
        u, _, *kept = output
        ctx.layer, ctx.num_others, ctx.num_kept = layer, len(others), len(kept)
        ctx.mark_non_differentiable(*kept)
        ctx.save_for_backward(u, *others, *kept)
        ctx.save_for_forward(u, *others)

    @staticmethod
    def backward(ctx: Any, g_u: Tensor, g_l: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        layer = ctx.layer
        u, *rest = ctx.saved_tensors
        others, kept = rest[: ctx.num_others], rest[ctx.num_others :]
        if not torch.is_grad_enabled():
            wanted = ctx.needs_input_grad[3:]
            solver = layer.solver(others, u.device)
            a, gradients = solver.pull(u, kept, g_u, g_l, wanted)
            return (None, None, a, *gradients)
        _, pull = torch.func.vjp(  # type: ignore[misc]  # typed for has_aux too
            lambda u, *others: layer.parallel(u, others), u, *others
        )
        zero, no_slope = torch.zeros_like(g_u), torch.zeros_like(u)
        from_slope = pull((zero, (-g_l)[:, None].expand_as(u)))
        a = solve_jacobian(layer, u, g_u + from_slope[0], others, transpose=True)
        from_map = pull((-a, no_slope))
        total = (m + s for m, s in zip(from_map[1:], from_slope[1:], strict=True))
        return (None, None, a, *total)

    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, d_v: Tensor, *d_others: Tensor) -> tuple[Any, ...]:
        layer = ctx.layer
        u, *others = ctx.saved_tensors[: 1 + ctx.num_others]

        def parallel(u: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
            v, log_slope = layer.parallel(u, others)
            return v, log_slope.sum(-1)

        still = torch.zeros_like(u)
        shift, _ = torch.func.jvp(parallel, (u, *others), (still, *d_others))[1]
        d_u = solve_jacobian(layer, u, d_v - shift, others, transpose=False)
        _, d_log_det = torch.func.jvp(parallel, (u, *others), (d_u, *d_others))[1]
        return (d_u, -d_log_det, *(None,) * ctx.num_kept)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        return vmap_by_loop(_Sequential, info.batch_size, in_dims, args)
