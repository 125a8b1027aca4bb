"""A plain network as a pytree of arrays, which NumPyro keeps as one parameter."""

import jax
import jax.numpy as jnp


def start(sizes, last_bias=None, last_scale=1.0):
    """Initialiser of a network with layers of these widths: a function of a key.

    Args:
        sizes: of the inputs, of each hidden layer, and of the outputs.
        last_bias: where the last layer's bias starts; zero by default.
        last_scale: what the last layer's start weights are multiplied by.
    """

    def weights(key):
        layers = []
        keys = jax.random.split(key, len(sizes) - 1)
        for layer_key, inputs, outputs in zip(keys, sizes[:-1], sizes[1:], strict=True):
            weight = jax.random.normal(layer_key, (inputs, outputs)) / jnp.sqrt(inputs)
            layers.append([weight, jnp.zeros(outputs)])
        layers[-1][0] *= last_scale
        if last_bias is not None:
            layers[-1][1] = jnp.asarray(last_bias)
        return layers

    return weights


def apply(layers, x):
    """The network's outputs, (..., outputs)."""
    for weight, bias in layers[:-1]:
        x = jax.nn.silu(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias
