"""What the conditioners share: a stack of linear layers whose arrays a spec names."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from flowkit_core.specs import ArraySpec, ConditionerSpec
from numpyro_flowkit.activations import ACTIVATIONS


def product(inputs: Array, weight: Array) -> Array:
    """``inputs @ weight.T`` in full precision.

    The sweep and the parallel pass compute the same numbers by different products; reduced
    precision (TF32, bf16 passes) would make the two directions disagree.

    Shapes: inputs (..., n), weight (m, n), result (..., m).
    """
    return jnp.matmul(inputs, weight.T, precision=lax.Precision.HIGHEST)


def draw_arrays(
    rng_key: Array, arrays: Iterable[ArraySpec], *, dtype: DTypeLike | None = None
) -> dict[str, Array]:
    """Start values of ``arrays``: zeros, or uniform in +-1/sqrt(fan_in).

    Args:
        rng_key: the only source of randomness.
        arrays: names, shapes and start values.
        dtype: their dtype; None for JAX's default float.
    """
    return _drawn(rng_key, tuple(arrays), jnp.result_type(float) if dtype is None else dtype)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _drawn(rng_key: Array, specs: tuple[ArraySpec, ...], dtype: DTypeLike) -> dict[str, Array]:
    # One draw for all arrays: a generator for each would take seconds to compile.
    numbers = jax.random.uniform(
        rng_key, (sum(array.size for array in specs if array.fan_in),), dtype, -1, 1
    )
    drawn, start = {}, 0
    for array in specs:
        if array.fan_in:
            part = numbers[start : start + array.size].reshape(array.shape)
            drawn[array.name] = part * array.fan_in**-0.5
            start += array.size
        else:
            drawn[array.name] = jnp.zeros(array.shape, dtype)
    return drawn


# Rebuilding a flow from its leaves, which JAX does after every compiled gradient, needs the names
# of every network; the spec computes shapes and fan-ins with them, which takes longer than to score
# a small batch.
@functools.lru_cache(maxsize=256)
def array_names(spec: ConditionerSpec) -> tuple[str, ...]:
    """Names of the arrays of ``spec``, in its order."""
    return tuple(array.name for array in spec.arrays())


class Conditioner:
    """A network from inputs (and a context) to the raw parameters of a law.

    Its weights are pytree leaves, its spec is static. Any other network that maps
    ``(inputs, context=None)`` from (..., inputs) to (..., outputs) can stand in its place (see
    `conditioners.foreign.as_conditioner`); then the flow has no spec.

    Args:
        spec: widths, activation, context.
        arrays: arrays under the names of ``spec.arrays()``.

    Raises:
        ValueError: if the names are not those of the spec.
    """

    spec: ConditionerSpec
    arrays: dict[str, Array]

    def __init__(self, spec: ConditionerSpec, arrays: Mapping[str, Array]) -> None:
        names = array_names(spec)
        if set(names) != set(arrays):
            raise ValueError(f"arrays: expected the names {list(names)}, got {sorted(arrays)}")
        self.spec = spec
        self.arrays = {name: arrays[name] for name in names}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        jax.tree_util.register_pytree_node(cls, cls.tree_flatten, cls.tree_unflatten)

    def tree_flatten(self) -> tuple[tuple[Array, ...], ConditionerSpec]:
        """The arrays in the order of the spec, and the spec."""
        return tuple(self.arrays.values()), self.spec

    @classmethod
    def tree_unflatten(cls, spec: ConditionerSpec, leaves: Iterable[Any]) -> Self:
        """Rebuild without checks: JAX also passes placeholders."""
        self = object.__new__(cls)
        self.spec = spec
        self.arrays = dict(zip(array_names(spec), leaves, strict=True))
        return self

    @property
    def num_layers(self) -> int:
        """Number of linear layers."""
        return len(self.spec.layer_sizes())

    def activation(self, values: Array) -> Array:
        """The spec's activation function."""
        return ACTIVATIONS[self.spec.activation](values)

    def weight(self, layer: int) -> Array:
        """Weight (outputs x inputs) of one linear layer, as it is applied."""
        return self.arrays[f"weight_{layer}"]

    def bias(self, layer: int) -> Array:
        """Bias of one linear layer."""
        return self.arrays[f"bias_{layer}"]

    def linear(self, layer: int, inputs: Array) -> Array:
        """Apply one linear layer."""
        return product(inputs, self.weight(layer)) + self.bias(layer)

    def first(self, inputs: Array, context: Array | None) -> Array:
        """The first linear layer, where the context comes in."""
        outputs = self.linear(0, inputs)
        if context is None:
            return outputs
        return outputs + product(context, self.arrays["context_weight"])

    def residual_call(self, inputs: Array, context: Array | None = None) -> Array:
        """The same layers in pre-activation residual blocks of two, between the first and last."""
        stream = self.first(inputs, context)
        for layer in range(1, self.num_layers - 1, 2):
            inner = self.activation(self.linear(layer, self.activation(stream)))
            stream = stream + self.linear(layer + 1, inner)
        return self.linear(self.num_layers - 1, self.activation(stream))

    def __call__(self, inputs: Array, context: Array | None = None) -> Array:
        """Map (..., inputs) and a context (..., context_dim) to (..., outputs)."""
        outputs = self.first(inputs, context)
        for layer in range(1, self.num_layers):
            outputs = self.linear(layer, self.activation(outputs))
        return outputs

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec!r})"
