"""Integer levels to numbers in [0, 1)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowkit_core import checks


def dequantise(levels: ArrayLike, num_levels: int = 256, *, rng_key: Array) -> Array:
    """Spread integer levels evenly over [0, 1): ``x = (level + u) / num_levels``, u uniform.

    A density of x is then a lower bound on a probability of levels,
    ``log P(levels) >= E log p(x) - D log(num_levels)``, which `bits_per_dim` turns into bits.
    Without the noise a flow would put spikes on the levels, of any density it likes.

    Args:
        levels: whole numbers 0 .. num_levels - 1, of any shape and any real dtype.
        num_levels: 256 for images of 8 bits.
        rng_key: source of the noise.

    Returns:
        x of the shape of levels; of their dtype if that is floating, else of JAX's default.

    Raises:
        TypeError: for something that is no array of numbers.
        ValueError: for levels out of range or not whole, as far as they are known when the function
            is called (under ``jit`` they are not).

    References:
        Theis, van den Oord, Bethge, "A note on the evaluation of generative models", 2016, section
        3.1; Uria, Murray, Larochelle, "RNADE", 2013.

    Example:
        >>> x = dequantise(jnp.array([0, 3, 7]), 8, rng_key=jax.random.key(0))
        >>> jnp.floor(8 * x).tolist()
        [0.0, 3.0, 7.0]
    """
    num_levels = checks.int_at_least("num_levels", num_levels, 2)
    array = jnp.asarray(levels)
    is_floating = jnp.issubdtype(array.dtype, jnp.floating)
    if not (is_floating or jnp.issubdtype(array.dtype, jnp.integer)):
        raise TypeError(f"levels: expected an array of real numbers, got {array.dtype}")
    start = array if is_floating else array.astype(jnp.result_type(float))
    if not isinstance(start, jax.core.Tracer):
        known = np.asarray(start)
        whole = (known >= 0) & (known < num_levels) & (known == np.floor(known))
        if not whole.all():
            raise ValueError(
                f"levels: expected whole numbers 0 .. {num_levels - 1}, got {known[~whole][0]}"
            )
    noise = jax.random.uniform(rng_key, start.shape, start.dtype)
    # The sum rounds up where u is close to 1: keep it below the next level.
    return jnp.minimum(start + noise, jnp.nextafter(start + 1, start)) / num_levels
