r"""The sequential direction with implicit gradients.

Let ``p(u; theta) = v`` be the parallel map of an autoregressive layer with triangular Jacobian J,
and ``L = log |det J|``. The sequential direction returns u and -L. For cotangents ``g_u`` of u and
``g_l`` of -L the implicit function theorem gives, with one retained pass of the network,

    J^T a = g_u - g_l dL/du,        v_bar = a,        theta_bar = -(dp/dtheta)^T a - g_l dL/dtheta.

Memory is that of one pass: it does not grow with the number of steps.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from pyro_flowkit.transforms.triangular_solve import solve_triangular_system


class AutoregressiveMap(Protocol):
    """What the implicit rule needs to know of a layer.

    ``others`` are all tensors that the map depends on besides its argument: the context if there
    is one, the law's free parameters if there are any, the weights of the network.
    """

    def solve(self, v: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return u of shape (n, D) and -L of shape (n,), without a graph."""

    def parallel(self, u: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return v and the log-slopes dv/du of each coordinate, both (n, D)."""


def sequential_map(
    layer: AutoregressiveMap, v: Tensor, others: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return u with ``p(u) = v``, (n, D), and ``log |det du/dv|``, (n,); differentiable once.

    Args:
        layer: the autoregressive layer.
        v: (n, D), in autoregressive order.
        others: see `AutoregressiveMap`.
    """
    u, log_det = _Sequential.apply(layer, v, *others)
    return u, log_det


class _Sequential(torch.autograd.Function):
    """u and -L from v; the backward pass is `_Pullback`."""

    @staticmethod
    def forward(layer: AutoregressiveMap, v: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        return layer.solve(v, others)

    @staticmethod
    def setup_context(
        ctx: FunctionCtx, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> None:
        layer, _, *others = inputs
        ctx.layer = layer  # type: ignore[attr-defined]
        ctx.save_for_backward(output[0], *others)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *_Pullback.apply(ctx.layer, *cotangents, *ctx.saved_tensors))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        return _vmap_by_loop(_Sequential, info, in_dims, args)


class _Pullback(torch.autograd.Function):
    """Gradients with respect to v and the others, as one function of tensors."""

    @staticmethod
    def forward(
        layer: AutoregressiveMap, g_u: Tensor, g_l: Tensor, u: Tensor, *others: Tensor
    ) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            leaves = [t.detach().requires_grad_() for t in others]
            v, log_slope = layer.parallel(u, leaves)
            weighted = (log_slope * g_l[:, None]).sum()
            (from_log_det,) = _gradient(weighted, [u])
            a = solve_triangular_system(
                lambda a: _gradient(v, [u], a)[0], log_slope.detach().exp(), g_u - from_log_det
            )
            return a, *(-g for g in _gradient((v * a).sum() + weighted, leaves))

    @staticmethod
    def setup_context(
        ctx: FunctionCtx, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> None:
        pass  # nothing is needed: there is no second derivative

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> None:
        raise NotImplementedError(
            "second derivatives through the sequential direction of an autoregressive flow are "
            "not available; use the one-pass direction (MAF: flow.inv, IAF: flow)"
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        return _vmap_by_loop(_Pullback, info, in_dims, args)


def _gradient(
    output: Tensor, inputs: Sequence[Tensor], cotangent: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Vector-Jacobian product that keeps the graph; zeros where nothing depends on an input."""
    if not (inputs and output.requires_grad):
        return tuple(torch.zeros_like(t) for t in inputs)
    return torch.autograd.grad(output, inputs, cotangent, retain_graph=True, materialize_grads=True)


def _vmap_by_loop(
    function: Any, info: Any, in_dims: tuple[Any, ...], args: tuple[Any, ...]
) -> tuple[Any, Any]:
    """One evaluation per entry of the mapped dimension, which may be in weights or cotangents."""
    results = [
        function.apply(
            *(a if d is None else a.select(d, i) for a, d in zip(args, in_dims, strict=True))
        )
        for i in range(info.batch_size)
    ]
    outputs = tuple(torch.stack(parts) for parts in zip(*results, strict=True))
    return outputs, (0,) * len(outputs)
