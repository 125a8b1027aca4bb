"""Multi-layer perceptron: the conditioner of coupling layers."""

from collections.abc import Mapping

from jax import Array
from jax.typing import DTypeLike

from flowkit_core.specs import MLPSpec
from numpyro_flowkit.conditioners.base import Conditioner, draw_arrays


class MLP(Conditioner):
    """``W_L a(... a(W_0 x + C c + b_0) ...) + b_L`` with activation a and context c.

    Shapes: inputs (..., num_inputs), context (..., context_dim), outputs (..., num_outputs).

    Args:
        spec: widths, activation, context.
        arrays: arrays under the names of ``spec.arrays()``.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> spec = MLPSpec(
        ...     hidden_dims=(8,), activation="relu", context_dim=0, num_inputs=2, num_outputs=3
        ... )
        >>> MLP.init(jax.random.key(0), spec)(jnp.ones((5, 2))).shape
        (5, 3)
    """

    spec: MLPSpec

    def __init__(self, spec: MLPSpec, arrays: Mapping[str, Array]) -> None:
        super().__init__(spec, arrays)

    @classmethod
    def init(cls, rng_key: Array, spec: MLPSpec, *, dtype: DTypeLike | None = None) -> "MLP":
        """A network with freshly drawn weights; its outputs are zero until it is trained."""
        return cls(spec, draw_arrays(rng_key, spec.arrays(), dtype=dtype))
