"""Mixture of diagonal Normals whose draws are differentiable by all of its parameters."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.distributions import constraints

from numpyro_flowkit.bases.mixture_of_normals import MixtureOfNormals, check_logits, chosen
from numpyro_flowkit.bases.mixture_path import along_path

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class NormalMixture(MixtureOfNormals):
    """``p(z) = sum_k w_k prod_i N(z_i; m_ki, s_ki)``, with ``w = softmax(logits)``.

    Shapes: locs and scales (..., K, D), logits (..., K); event (D,), batch (...).

    Args:
        locs: means m.
        scales: standard deviations s.
        logits: log-weights, up to a constant.
        validate_args: as in NumPyro.

    Raises:
        ValueError: if the shapes do not fit each other.

    References:
        See `mixture_path` for the gradients of draws. (NumPyro's `MixtureSameFamily` has none.)

    Example:
        >>> scales = jnp.ones((2, 3))
        >>> mixture = NormalMixture(jnp.zeros((2, 3)), scales, jnp.zeros(2))
        >>> mixture.sample(jax.random.key(0), (5,)).shape, mixture.variance.tolist()
        ((5, 3), [1.0, 1.0, 1.0])
    """

    arg_constraints = {
        "locs": constraints.real_matrix,
        "scales": constraints.independent(constraints.positive, 2),
        "logits": constraints.real_vector,
    }
    reparametrized_params = ["locs", "scales", "logits"]
    pytree_data_fields = ("locs", "scales", "logits")

    def __init__(
        self, locs: Array, scales: Array, logits: Array, *, validate_args: bool | None = None
    ) -> None:
        if jnp.ndim(locs) < 2 or jnp.shape(scales)[-2:] != jnp.shape(locs)[-2:]:
            raise ValueError(
                "locs and scales: expected two shapes (..., K, D), got "
                f"{jnp.shape(locs)} and {jnp.shape(scales)}"
            )
        check_logits(locs, logits)
        batch = jnp.broadcast_shapes(locs.shape[:-2], scales.shape[:-2], logits.shape[:-1])
        self.locs = jnp.broadcast_to(locs, batch + locs.shape[-2:])
        self.scales = jnp.broadcast_to(scales, batch + scales.shape[-2:])
        self.logits = jnp.broadcast_to(logits, batch + logits.shape[-1:])
        super().__init__(batch, locs.shape[-1:], validate_args=validate_args)

    def _within(self) -> Array:
        return self.scales**2

    def _each(self, value: Array) -> Array:
        e = (value[..., None, :] - self.locs) / self.scales
        return (-0.5 * e**2 - jnp.log(self.scales) - _LOG_SQRT_2PI).sum(-1)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of shape ``sample_shape + batch + (D,)``, differentiable by all parameters."""
        which_key, noise_key = jax.random.split(key)
        batch = sample_shape + self.batch_shape
        which = jax.random.categorical(which_key, self.logits, shape=batch)
        noise = jax.random.normal(noise_key, batch + self.event_shape, self.locs.dtype)
        z = chosen(self.locs, which, 1) + chosen(self.scales, which, 1) * noise
        return along_path(jax.lax.stop_gradient(z), self.locs, self.scales, self.logits)
