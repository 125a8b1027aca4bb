"""What mixtures of Normals have in common, diagonal or full."""

from abc import abstractmethod

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import logsumexp
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample


class MixtureOfNormals(dist.Distribution):
    """``p(z) = sum_k w_k N(z; m_k, S_k)``, with ``w = softmax(logits)``.

    A kind of mixture says how its covariances are given.
    """

    support = constraints.real_vector
    locs: Array
    logits: Array

    @abstractmethod
    def _within(self) -> Array:
        """Variance of each coordinate within each component, (..., K, D)."""

    @abstractmethod
    def _each(self, value: Array) -> Array:
        """Log-density of each component, (..., K)."""

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
        return (self.weights[..., None] * (self._within() + apart**2)).sum(-2)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log-density in nats, of shape batch."""
        return logsumexp(jax.nn.log_softmax(self.logits, axis=-1) + self._each(value), axis=-1)


def check_logits(locs: Array, logits: Array) -> None:
    """Raise unless there is a weight for each component."""
    if jnp.ndim(logits) < 1 or jnp.shape(logits)[-1] != jnp.shape(locs)[-2]:
        raise ValueError(
            f"logits: expected shape (..., {jnp.shape(locs)[-2]}), got {jnp.shape(logits)}"
        )


def chosen(rows: Array, which: Array, event_dim: int) -> Array:
    """Row ``which`` (...) of rows (..., K, *event), without a copy of all rows for each."""
    batch = rows.shape[: -1 - event_dim]
    found: Array = rows[(*jnp.indices(batch, sparse=True), which)]
    return found
