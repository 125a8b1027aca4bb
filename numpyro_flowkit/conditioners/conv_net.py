"""Convolutional network: the conditioner of couplings of images."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
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
        """Apply one convolution; the channels are last."""
        return convolved(inputs, self.weight(layer)) + self.bias(layer)

    def first(self, inputs: Array, context: Array | None) -> Array:
        """The first convolution; a context is a bias of each of its channels."""
        outputs = self.linear(0, inputs)
        if context is None:
            return outputs
        return outputs + product(context, self.arrays["context_weight"])[..., None, None, :]

    def __call__(self, inputs: Array, context: Array | None = None) -> Array:
        """Map (..., C, H, W) and a context (..., context_dim) to (..., outputs, H, W)."""
        run = self.residual_call if self.spec.residual else super().__call__
        return jnp.moveaxis(run(jnp.moveaxis(inputs, -3, -1), context), -1, -3)


def convolved(images: Array, kernels: Array) -> Array:
    """Images (..., H, W, inputs) by kernels (outputs, inputs, 3, 3), zeros round the images."""
    # Inside of a loop, as in a scan over minibatches, XLA's convolutions take a CPU five times as
    # long as outside of one, and a product with neighbourhoods is as quick as they are outside.
    on_cpu = jax.default_backend() == "cpu"
    return by_neighbourhoods(images, kernels) if on_cpu else by_convolution(images, kernels)


def by_neighbourhoods(images: Array, kernels: Array) -> Array:
    """The convolution as one product with the nine neighbours of each pixel."""
    height, width = images.shape[-3:-1]
    padded = jnp.pad(images, [(0, 0)] * (images.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
    neighbours = [
        padded[..., i : i + height, j : j + width, :] for i, j in np.ndindex(kernels.shape[2:])
    ]
    rows = jnp.moveaxis(kernels, 1, -1).reshape(len(kernels), -1)
    return product(jnp.concatenate(neighbours, -1), rows)


def by_convolution(images: Array, kernels: Array) -> Array:
    """The convolution by XLA's own operation, for accelerators."""
    *batch, height, width, channels = images.shape
    found = lax.conv_general_dilated(
        images.reshape(math.prod(batch), height, width, channels),
        kernels,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    return found.reshape(*batch, *found.shape[1:])
