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
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import log_ndtr, logsumexp, ndtr

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@jax.custom_jvp
def along_path(z: Array, locs: Array, scales: Array, logits: Array) -> Array:
    """Draws z (..., D), as a differentiable function of the parameters they were drawn with.

    Args:
        z: draws, which are constants.
        locs: (..., K, D), broadcasting with z.
        scales: the same.
        logits: (..., K).

    Cost: the gradient takes O(K D) per draw for means and scales, O(K D^2) time and O(D^2) memory
    for weights. It can be differentiated again, in both modes.

    Example:
        >>> draws, logits = jnp.ones((3, 2)), jnp.zeros(1)
        >>> def total(locs):
        ...     return along_path(draws, locs, jnp.ones((1, 2)), logits).sum()
        >>> jax.grad(total)(jnp.zeros((1, 2))).tolist()
        [[3.0, 3.0]]
    """
    return z


@along_path.defjvp
def _along_path_jvp(
    primals: tuple[Array, Array, Array, Array], tangents: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    # The output rather than the input, so that a second derivative follows the draw.
    z = along_path(*primals)
    _, locs, scales, logits = primals
    _, d_locs, d_scales, d_logits = tangents
    e = (z[..., None, :] - locs) / scales
    log_density = -0.5 * e**2 - jnp.log(scales) - _LOG_SQRT_2PI
    share = jax.nn.softmax(logits + log_density.sum(-1), axis=-1)
    moved = (share[..., None] * (d_locs + e * d_scales)).sum(-2)
    b, matrix = _weight_transport(e, log_density, scales, logits)
    pushed = (b * d_logits[..., None]).sum(-2)
    moved -= lax.linalg.triangular_solve(
        matrix, pushed[..., None], left_side=True, lower=True, unit_diagonal=True
    )[..., 0]
    return z, moved


class _Transport(NamedTuple):
    """``b`` (..., K, D) and ``I + L`` (..., D, D) of this module's equations."""

    b: Array
    matrix: Array


def _weight_transport(e: Array, log_density: Array, scales: Array, logits: Array) -> _Transport:
    # Log-weights given the coordinates before each one.
    padding = [(0, 0)] * (log_density.ndim - 1) + [(1, 0)]
    before = jnp.cumsum(jnp.pad(log_density, padding), axis=-1)[..., :-1]
    log_w = jax.nn.log_softmax(logits[..., None] + before, axis=-2)
    log_p = logsumexp(log_w + log_density, axis=-2, keepdims=True)
    # Phi - F is a difference of the tails on the side on which they are small; both tails and p
    # may underflow, so only their quotients leave log space.
    below = (jnp.exp(log_w) * ndtr(e)).sum(-2, keepdims=True) < 0.5
    sign = jnp.where(below, 1, -1).astype(e.dtype)
    log_tail = log_ndtr(sign * e)
    log_all = logsumexp(log_w + log_tail, axis=-2, keepdims=True)
    b = sign * (jnp.exp(log_w + log_tail - log_p) - jnp.exp(log_w + log_all - log_p))
    lower = jnp.tril(jnp.einsum("...ki,...kj->...ij", b, -e / scales), -1)
    return _Transport(b, lower + jnp.eye(e.shape[-1], dtype=e.dtype))
