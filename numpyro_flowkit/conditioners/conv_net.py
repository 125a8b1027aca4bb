"""Convolutional network: the conditioner of couplings of images."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from flowkit_core.specs import ConvNetSpec
from numpyro_flowkit.conditioners.base import Conditioner, draw_arrays, product


class ConvNet(Conditioner):
    """A stack of 3x3 convolutions with zeros round the image, plain or in residual blocks.

    Shapes: inputs (..., num_inputs, H, W), context (..., context_dim), outputs
    (..., num_outputs, H, W).

    Cost: one pass; ``9 * sum of inputs * outputs`` multiplications per pixel.

    Args:
        spec: channels, activation, context, residual blocks, weight normalisation.
        arrays: arrays under the names of ``spec.arrays()``.

    References:
        He et al., "Identity Mappings in Deep Residual Networks", 2016; Salimans, Kingma, "Weight
        Normalization", 2016, equation 2.

    Example:
        >>> import jax
        >>> spec = ConvNetSpec(
        ...     hidden_dims=(8,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     num_inputs=1,
        ...     num_outputs=2,
        ...     residual=True,
        ...     weight_norm=True,
        ... )
        >>> ConvNet.init(jax.random.key(0), spec)(jnp.ones((5, 1, 4, 4))).shape
        (5, 2, 4, 4)
    """

    spec: ConvNetSpec

    def __init__(self, spec: ConvNetSpec, arrays: Mapping[str, Array]) -> None:
        super().__init__(spec, arrays)

    @classmethod
    def init(
        cls, rng_key: Array, spec: ConvNetSpec, *, dtype: DTypeLike | None = None
    ) -> "ConvNet":
        """A network with freshly drawn weights; its outputs are zero until it is trained."""
        return cls(spec, draw_arrays(rng_key, spec.arrays(), dtype=dtype))

    def weight(self, layer: int) -> Array:
        """Kernels (outputs x inputs x 3 x 3) of one convolution, as they are applied."""
        weight = super().weight(layer)
        if not self.spec.weight_norm or layer == self.num_layers - 1:
            return weight
        # What is drawn uniformly from +-1/sqrt(n) for n inputs has length 1/sqrt(3), nearly.
        length = jnp.sqrt(3 * jnp.sum(jnp.square(weight), (1, 2, 3)))
        return weight * (jnp.exp(self.arrays[f"gain_{layer}"]) / length)[:, None, None, None]

    def linear(self, layer: int, inputs: Array) -> Array:
        """Apply one convolution."""
        bias = self.bias(layer)[:, None, None]
        return convolved(inputs, self.weight(layer)) + bias

    def first(self, inputs: Array, context: Array | None) -> Array:
        """The first convolution; a context is a bias of each of its channels."""
        outputs = self.linear(0, inputs)
        if context is None:
            return outputs
        return outputs + product(context, self.arrays["context_weight"])[..., None, None]

    def __call__(self, inputs: Array, context: Array | None = None) -> Array:
        """Map (..., C, H, W) and a context (..., context_dim) to (..., outputs, H, W)."""
        run = self.residual_call if self.spec.residual else super().__call__
        return run(inputs, context)


def convolved(images: Array, kernels: Array) -> Array:
    """Images (..., inputs, H, W) by kernels (outputs, inputs, 3, 3), zeros round the images."""
    *batch, channels, height, width = images.shape
    flat = images.reshape(-1, channels, height, width)
    found = lax.conv_general_dilated(flat, kernels, (1, 1), "SAME", precision=lax.Precision.HIGHEST)
    return found.reshape(*batch, *found.shape[1:])
