"""Invertible 1x1 convolution."""

import jax.numpy as jnp
from jax import Array, lax

from flowkit_core import checks
from flowkit_core.specs import Conv1x1Spec
from numpyro_flowkit.transforms.linear import Linear
from numpyro_flowkit.transforms.per_pixel import PerPixel


class Conv1x1(PerPixel):
    """``x = W z + shift`` at each pixel; ``log |det| = H W log |det W|``.

    What `PerPixel` gives with a linear layer inside, but for how it is computed: an image has many
    more pixels than channels, so W or its inverse is formed once per call, out of the factors that
    the linear layer trains, and the pixels are one product.

    Shapes: z and x (..., C, H, W), log-determinants (...).

    Cost: C^3 once and C^2 per pixel, in either direction.

    Stability: W^-1 comes from triangular solves, so its error is that of the condition of W.

    Args:
        inner: a linear layer of C numbers, such as an `LULinear`.
        height: of the images.
        width: of the images.

    Raises:
        TypeError: if ``inner`` is no linear layer.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.2, equations 9 to 11.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import lu_linear
        >>> flow = Conv1x1(lu_linear(2)(jax.random.key(0)), 4, 6)
        >>> flow(jnp.ones((5, 2, 4, 6))).shape
        (5, 2, 4, 6)
    """

    inner: Linear
    _spec_of = Conv1x1Spec

    def __init__(self, inner: Linear, height: int, width: int) -> None:
        super().__init__(checks.instance("inner", inner, Linear), height, width)

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        shift = self.inner._offset()
        return _at_pixels(self.inner.matrix(), z, shift), self._log_det(z)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        inverse = self.inner.inverse_matrix()
        shift = -jnp.matmul(inverse, self.inner._offset(), precision=lax.Precision.HIGHEST)
        return _at_pixels(inverse, x, shift), -self._log_det(x)

    def _forward_and_score(
        self, z: Array, score: Array, context: Array | None
    ) -> tuple[Array, Array, Array]:
        x, log_det = self._forward_and_log_det(z, context)
        matrix = lax.stop_gradient(self.inner.inverse_matrix().T)
        return x, log_det, _at_pixels(matrix, lax.stop_gradient(score), None)

    def _log_det(self, values: Array) -> Array:
        log_det = self.inner._log_diagonal().sum() * (self.height * self.width)
        return jnp.broadcast_to(log_det, self._batch(values.shape)).astype(values.dtype)


def _at_pixels(matrix: Array, values: Array, shift: Array | None) -> Array:
    """``matrix @ pixel + shift`` for each pixel of (..., C, H, W)."""
    mapped = jnp.einsum("ij,...jhw->...ihw", matrix, values, precision=lax.Precision.HIGHEST)
    return mapped if shift is None else mapped + shift[:, None, None]
