"""MADE: the masked conditioner of autoregressive layers."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from flowkit_core.specs import MADESpec
from numpyro_flowkit.conditioners.base import Conditioner, draw_arrays
from numpyro_flowkit.conditioners.blocks import masked_product


class MADE(Conditioner):
    """Masked network: parameters of position j are functions of positions below j and the context.

    Shapes: inputs (..., D), context (..., context_dim), outputs (..., num_params * D), parameter
    by parameter: ``outputs.reshape(..., num_params, D)`` separates them.

    Cost: one pass; three quarters of a dense one on a CPU, see `masked_product`.

    Args:
        spec: widths, activation, context, residual blocks.
        arrays: arrays under the names of ``spec.arrays()``.

    References:
        Germain et al., "MADE: Masked Autoencoder for Distribution Estimation", 2015, section 3;
        residual blocks as in Durkan and Nash, "Autoregressive Energy Machines", 2019, section 3.1.

    Example:
        >>> import jax
        >>> spec = MADESpec(
        ...     hidden_dims=(8,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     input_dim=3,
        ...     num_params=2,
        ...     residual=False,
        ... )
        >>> MADE.init(jax.random.key(0), spec)(jnp.ones((5, 3))).shape
        (5, 6)
    """

    spec: MADESpec

    def __init__(self, spec: MADESpec, arrays: Mapping[str, Array]) -> None:
        super().__init__(spec, arrays)

    @classmethod
    def init(cls, rng_key: Array, spec: MADESpec, *, dtype: DTypeLike | None = None) -> "MADE":
        """A network with freshly drawn weights; its outputs are zero until it is trained."""
        return cls(spec, draw_arrays(rng_key, spec.arrays(), dtype=dtype))

    def weight(self, layer: int) -> Array:
        """Weight of one linear layer with zeros where the mask forbids a connection."""
        return jnp.where(self.spec.masks[layer], super().weight(layer), 0)

    def linear(self, layer: int, inputs: Array) -> Array:
        """Apply one linear layer; on a CPU a good part of the zeros is left out."""
        return masked_product(inputs, self.weight(layer), self.spec, layer) + self.bias(layer)

    def __call__(self, inputs: Array, context: Array | None = None) -> Array:
        """Map (..., D) and a context (..., context_dim) to (..., num_params * D)."""
        if not self.spec.residual:
            return super().__call__(inputs, context)
        return self.residual_call(inputs, context)
