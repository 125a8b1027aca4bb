"""A value that XLA computes once, instead of anew in every loop that reads it."""

import jax
from jax import Array

from numpyro_flowkit.native.custom_calls import targets
from numpyro_flowkit.native.tie import tie


def materialised(array: Array) -> Array:
    """``array``, behind a custom call where there is one: on CPUs with a C compiler.

    Normal draws are a long polynomial of uniform ones, cheap enough for XLA to repeat it in every
    loop that reads them: in the gradient of a flow most of the program, and of its compile time.
    """
    names = targets(str(array.dtype)) if jax.default_backend() == "cpu" else None
    return array if names is None else tie([array], names.tie)[0]
