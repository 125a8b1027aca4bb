"""Mixture of diagonal Normals whose draws are differentiable by all of its parameters."""

import math

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import logsumexp
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from numpyro_flowkit.bases.mixture_path import along_path

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class NormalMixture(dist.Distribution):
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
    support = constraints.real_vector
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
        if jnp.ndim(logits) < 1 or jnp.shape(logits)[-1] != jnp.shape(locs)[-2]:
            raise ValueError(
                f"logits: expected shape (..., {jnp.shape(locs)[-2]}), got {jnp.shape(logits)}"
            )
        batch = jnp.broadcast_shapes(locs.shape[:-2], scales.shape[:-2], logits.shape[:-1])
        self.locs = jnp.broadcast_to(locs, batch + locs.shape[-2:])
        self.scales = jnp.broadcast_to(scales, batch + scales.shape[-2:])
        self.logits = jnp.broadcast_to(logits, batch + logits.shape[-1:])
        super().__init__(batch, locs.shape[-1:], validate_args=validate_args)

    @property
    def weights(self) -> Array:
        """Weight of each component, (..., K)."""
        return jax.nn.softmax(self.logits, axis=-1)

    @property
    def mean(self) -> Array:
        """Mean (..., D)."""
        return (self.weights[..., None] * self.locs).sum(-2)

    @property
    def variance(self) -> Array:
        """Variance of each coordinate, (..., D)."""
        apart = self.locs - self.mean[..., None, :]
        return (self.weights[..., None] * (self.scales**2 + apart**2)).sum(-2)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log-density in nats, of shape batch."""
        e = (value[..., None, :] - self.locs) / self.scales
        each = (-0.5 * e**2 - jnp.log(self.scales) - _LOG_SQRT_2PI).sum(-1)
        return logsumexp(jax.nn.log_softmax(self.logits, axis=-1) + each, axis=-1)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of shape ``sample_shape + batch + (D,)``, differentiable by all parameters."""
        which_key, noise_key = jax.random.split(key)
        batch = sample_shape + self.batch_shape
        which = jax.random.categorical(which_key, self.logits, shape=batch)
        noise = jax.random.normal(noise_key, batch + self.event_shape, self.locs.dtype)
        z = _chosen(self.locs, which) + _chosen(self.scales, which) * noise
        return along_path(jax.lax.stop_gradient(z), self.locs, self.scales, self.logits)


def _chosen(rows: Array, which: Array) -> Array:
    """Row ``which`` (...) of rows (..., K, D)."""
    rows = jnp.broadcast_to(rows, which.shape + rows.shape[-2:])
    return jnp.take_along_axis(rows, which[..., None, None], axis=-2).squeeze(-2)
