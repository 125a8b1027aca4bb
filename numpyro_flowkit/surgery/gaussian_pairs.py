"""Gaussian posteriors as an exponential family: all pairs by a matrix product."""

import math
from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.scipy.linalg import solve_triangular
from numpyro.distributions.distribution import ExpandedDistribution, Independent

from numpyro_flowkit.distributions import StandardNormal

_LOG_2PI = math.log(2 * math.pi)


class GaussianPairs(ABC):
    """Log-densities ``log q(z_i | x_j)`` of n Gaussians, by products and by differences.

    By products: ``log q(z | j) = <t(z), eta_j> + c_j`` with statistics t of first and second order.
    That expands the square ``((z - m) / s)^2``, which cancels where posteriors are narrow: with
    sd s and means within R of their centre by up to ``eps (R / s)^2``. By differences nothing
    cancels.

    Args:
        params: location first, each of shape (n, ...).
    """

    def __init__(self, *params: Array) -> None:
        self.params = params

    @property
    def num(self) -> int:
        """How many Gaussians there are: n."""
        return len(self.params[0])

    @property
    def dim(self) -> int:
        """Length of a vector: d."""
        return self.params[0].shape[-1]

    @property
    @abstractmethod
    def num_features(self) -> int:
        """How many statistics there are."""

    @abstractmethod
    def statistics(self, z: Array) -> Array:
        """t(z), (m, k), of points (m, d)."""

    @abstractmethod
    def naturals(self) -> tuple[Array, Array]:
        """Natural parameters eta (n, k) and constants c (n,)."""

    @abstractmethod
    def by_differences(self, z: Array) -> Array:
        """``log q(z_i | x_j)``, (m, n), without cancellation."""

    @abstractmethod
    def own(self, z: Array) -> Array:
        """``log q(z_j | x_j)``, (n,), of points (n, d), one for each; by differences."""

    @abstractmethod
    def draw(self, key: Array) -> Array:
        """A draw (n, d), one of each."""

    def by_products(self, z: Array) -> Array:
        """The table (m, n) by a matrix product; m n numbers are held at once."""
        eta, constant = self.naturals()
        return self.statistics(z) @ eta.T + constant


class DiagonalPairs(GaussianPairs):
    """Diagonal Gaussians: parameters loc and scale, each (n, d); t(z) = (z, z^2)."""

    @property
    def num_features(self) -> int:
        """How many statistics there are."""
        return 2 * self.dim

    def statistics(self, z: Array) -> Array:
        """First and second powers of z (m, d)."""
        return jnp.concatenate([z, z**2], -1)

    def naturals(self) -> tuple[Array, Array]:
        """Natural parameters (n, k) and constants (n,)."""
        loc, scale = self.params
        precision = 1 / scale**2
        eta = jnp.concatenate([loc * precision, -0.5 * precision], -1)
        constant = -0.5 * (loc / scale) ** 2 - jnp.log(scale) - 0.5 * _LOG_2PI
        return eta, constant.sum(-1)

    def by_differences(self, z: Array) -> Array:
        """Table (m, n) without cancellation."""
        # A point at a time, so that XLA holds no (m, n, d).
        return jax.lax.map(self.own, z)

    def own(self, z: Array) -> Array:
        """Each point under its own Gaussian, (n,)."""
        loc, scale = self.params
        squares = (((z - loc) / scale) ** 2).sum(-1)
        return -0.5 * squares - jnp.log(scale).sum(-1) - 0.5 * self.dim * _LOG_2PI

    def draw(self, key: Array) -> Array:
        """A draw of each."""
        loc, scale = self.params
        return loc + scale * jax.random.normal(key, loc.shape, loc.dtype)


class FullPairs(GaussianPairs):
    """Gaussians with full covariance: parameters loc (n, d) and scale_tril (n, d, d).

    t(z) holds z and the products ``z_a z_b`` with a >= b.
    """

    @property
    def num_features(self) -> int:
        """How many statistics there are."""
        return self.dim + self.dim * (self.dim + 1) // 2

    def statistics(self, z: Array) -> Array:
        """First and second powers of z (m, d)."""
        rows, columns = np.tril_indices(self.dim)
        return jnp.concatenate([z, z[:, rows] * z[:, columns]], -1)

    def naturals(self) -> tuple[Array, Array]:
        """Natural parameters (n, k) and constants (n,)."""
        loc, factor = self.params
        rows, columns = np.tril_indices(self.dim)
        identity = jnp.broadcast_to(jnp.eye(self.dim, dtype=loc.dtype), factor.shape)
        inverse = solve_triangular(factor, identity, lower=True)
        precision = jnp.swapaxes(inverse, -1, -2) @ inverse
        linear = (precision @ loc[..., None])[..., 0]
        # A product z_a z_b with a > b stands for both of the matrix's entries.
        half = -jnp.where(rows == columns, 0.5, 1.0).astype(loc.dtype)
        eta = jnp.concatenate([linear, half * precision[:, rows, columns]], -1)
        return eta, -0.5 * (linear * loc).sum(-1) - self._constant()

    def by_differences(self, z: Array) -> Array:
        """Table (m, n) without cancellation."""
        return jax.lax.map(self.own, z)

    def own(self, z: Array) -> Array:
        """Each point under its own Gaussian, (n,)."""
        loc, factor = self.params
        white = solve_triangular(factor, (z - loc)[..., None], lower=True)
        return -0.5 * (white**2).sum((-2, -1)) - self._constant()

    def draw(self, key: Array) -> Array:
        """A draw of each."""
        loc, factor = self.params
        return loc + (factor @ jax.random.normal(key, (*loc.shape, 1), loc.dtype))[..., 0]

    def _constant(self) -> Array:
        log_scale = jnp.log(jnp.diagonal(self.params[1], axis1=-2, axis2=-1)).sum(-1)
        return log_scale + 0.5 * self.dim * _LOG_2PI


def gaussian_params(
    posterior: dist.Distribution,
) -> tuple[type[GaussianPairs], tuple[Array, ...]] | None:
    """The kind of Gaussian that a distribution is, and its parameters; None if it is none.

    Only the classes themselves and our own one count: another subclass may have another density.
    """
    shape = (*posterior.batch_shape, *posterior.event_shape)
    inner: Any = posterior
    while isinstance(inner, Independent | ExpandedDistribution):
        inner = inner.base_dist
    if type(inner) is dist.MultivariateNormal:
        loc, factor = inner.loc, inner.scale_tril
        return FullPairs, (
            jnp.broadcast_to(loc, shape),
            jnp.broadcast_to(factor, (*shape, shape[-1])),
        )
    if type(inner) in (dist.Normal, StandardNormal):
        return DiagonalPairs, (
            jnp.broadcast_to(inner.loc, shape),
            jnp.broadcast_to(inner.scale, shape),
        )
    return None
