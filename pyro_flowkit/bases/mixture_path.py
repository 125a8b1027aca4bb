"""How a draw from a mixture of diagonal Normals moves when its parameters do.

A velocity v with ``dp/dtheta + div(p v) = 0`` gives ``d/dtheta E[f(z)] = E[grad f(z) . v(z)]``
(Jankowiak & Karaletsos 2019, equation 7). Any such v will do, another one for each parameter:

- Means and scales: ``p v`` is linear in the components, each of which moves its own points, so
  ``v = sum_k r_k(z) (dm_k + e_k ds_k)`` with responsibilities r_k and ``e_k = (z - m_k) / s_k``.
- Weights: the Rosenblatt transform ``F_i = sum_k w_ki Phi(e_ki)``, with w_ki the weights given
  z_1 .. z_{i-1}, is uniform whatever the weights are, so ``v = -(dF/dz)^-1 dF/dlogits`` (Figurnov
  et al. 2018, section 4). With p_i = dF_i/dz_i, ``b_ki = w_ki (Phi(e_ki) - F_i) / p_i`` and
  ``a_ki = -e_ki / s_ki`` that is ``v = -(I + L)^-1 b``, where ``L_ij = sum_k b_ki a_kj`` for j < i.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def along_path(z: Tensor, locs: Tensor, scales: Tensor, logits: Tensor) -> Tensor:
    """Draws z (..., D), as a differentiable function of the parameters they were drawn with.

    Args:
        z: draws, which are constants.
        locs: (..., K, D), broadcasting with z.
        scales: the same.
        logits: (..., K).

    Cost: the gradient takes O(K D) per draw for means and scales, O(K D^2) time and O(D^2) memory
    for weights. It can be differentiated again.

    Example:
        >>> locs, scales = torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2)
        >>> along_path(torch.ones(3, 2), locs, scales, torch.zeros(1)).sum().backward()
        >>> locs.grad
        tensor([[3., 3.]])
    """
    moving: Tensor = _AlongPath.apply(z, locs, scales, logits)
    return moving


class _AlongPath(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, locs: Tensor, scales: Tensor, logits: Tensor) -> Tensor:
        return z.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # The output rather than the input: a second derivative then follows the draw.
        ctx.save_for_backward(output, *inputs[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        z, locs, scales, logits = ctx.saved_tensors
        e = (z.unsqueeze(-2) - locs) / scales
        log_density = -0.5 * e**2 - scales.log() - _LOG_SQRT_2PI
        share = (logits + log_density.sum(-1)).softmax(-1)
        by_locs = share.unsqueeze(-1) * g.unsqueeze(-2)
        by_logits = None
        if ctx.needs_input_grad[3]:
            b, transport = _weight_transport(e, log_density, scales, logits)
            y = torch.linalg.solve_triangular(
                transport.mT, g.unsqueeze(-1), upper=True, unitriangular=True
            )
            by_logits = -(b @ y).squeeze(-1).sum_to_size(logits.shape)
        return (
            None,
            by_locs.sum_to_size(locs.shape),
            (by_locs * e).sum_to_size(scales.shape),
            by_logits,
        )


class _Transport(NamedTuple):
    """``b`` (..., K, D) and ``I + L`` (..., D, D) of this module's equations."""

    b: Tensor
    matrix: Tensor


def _weight_transport(e: Tensor, log_density: Tensor, scales: Tensor, logits: Tensor) -> _Transport:
    # Log-weights given the coordinates before each one.
    before = torch.nn.functional.pad(log_density, (1, 0)).cumsum(-1)[..., :-1]
    log_w = (logits.unsqueeze(-1) + before).log_softmax(-2)
    log_p = (log_w + log_density).logsumexp(-2, keepdim=True)
    # Phi - F is a difference of the tails on the side on which they are small; both tails and p
    # may underflow, so only their quotients leave log space.
    below = (log_w.exp() * torch.special.ndtr(e)).sum(-2, keepdim=True) < 0.5
    sign = torch.where(below, 1.0, -1.0).to(e.dtype)
    log_tail = torch.special.log_ndtr(sign * e)
    log_all = (log_w + log_tail).logsumexp(-2, keepdim=True)
    b = sign * ((log_w + log_tail - log_p).exp() - (log_w + log_all - log_p).exp())
    lower = (b.mT @ (-e / scales)).tril(-1)
    return _Transport(b, lower + torch.eye(e.shape[-1], dtype=e.dtype, device=e.device))
