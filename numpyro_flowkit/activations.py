"""Activation functions by the names that specs use."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

# One definition per name, equal in both wings: gelu is the exact one, leaky_relu has slope 0.01.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": partial(jax.nn.leaky_relu, negative_slope=0.01),
    "elu": jax.nn.elu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}
