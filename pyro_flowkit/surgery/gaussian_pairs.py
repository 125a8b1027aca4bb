"""Gaussian posteriors as an exponential family: all pairs by a matrix product."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

_LOG_2PI = math.log(2 * math.pi)


class GaussianPairs(ABC):
    """Log-densities ``log q(z_i | x_j)`` of n Gaussians, float64, by products and by differences.

    By products: ``log q(z | j) = <t(z), eta_j> + c_j`` with statistics t of first and second order.
    That expands the square ``((z - m) / s)^2``, which cancels where posteriors are narrow: with
    sd s and means within R of their centre by up to ``eps (R / s)^2``. By differences nothing
    cancels.

    Args:
        params: location first, each of shape (n, ...), in float64 and without a gradient.
    """

    def __init__(self, *params: Tensor) -> None:
        self.params = params

    @property
    def num(self) -> int:
        """How many Gaussians there are: n."""
        return len(self.params[0])

    @property
    def dim(self) -> int:
        """Length of a vector: d."""
        return self.params[0].shape[-1]

    def take(self, rows: slice | Tensor) -> "GaussianPairs":
        """Some of the Gaussians."""
        return type(self)(*(param[rows] for param in self.params))

    @property
    @abstractmethod
    def num_features(self) -> int:
        """How many statistics there are."""

    @abstractmethod
    def statistics(self, z: Tensor) -> Tensor:
        """t(z), (m, k), of points (m, d)."""

    @abstractmethod
    def naturals(self) -> tuple[Tensor, Tensor]:
        """Natural parameters eta (n, k) and constants c (n,)."""

    @abstractmethod
    def by_differences(self, z: Tensor) -> Tensor:
        """``log q(z_i | x_j)``, (m, n), without cancellation; m n d numbers are held at once."""

    @abstractmethod
    def own(self, z: Tensor) -> Tensor:
        """``log q(z_j | x_j)``, (n,), of points (n, d), one for each; by differences."""

    @abstractmethod
    def draw(self) -> Tensor:
        """A draw (n, d), one of each."""


class DiagonalPairs(GaussianPairs):
    """Diagonal Gaussians: parameters loc and scale, each (n, d); t(z) = (z, z^2)."""

    @property
    def num_features(self) -> int:
        """How many statistics there are."""
        return 2 * self.dim

    def statistics(self, z: Tensor) -> Tensor:
        """First and second powers of z (m, d)."""
        return torch.cat([z, z.square()], -1)

    def naturals(self) -> tuple[Tensor, Tensor]:
        """Natural parameters (n, k) and constants (n,)."""
        loc, scale = self.params
        precision = scale.square().reciprocal()
        eta = torch.cat([loc * precision, -0.5 * precision], -1)
        constant = -0.5 * (loc / scale).square() - scale.log() - 0.5 * _LOG_2PI
        return eta, constant.sum(-1)

    def by_differences(self, z: Tensor) -> Tensor:
        """Table (m, n) without cancellation."""
        return self.own(z[:, None])

    def own(self, z: Tensor) -> Tensor:
        """Each point under its own Gaussian, (n,)."""
        loc, scale = self.params
        squares = ((z - loc) / scale).square().sum(-1)
        return -0.5 * squares - scale.log().sum(-1) - 0.5 * self.dim * _LOG_2PI

    def draw(self) -> Tensor:
        """A draw of each."""
        loc, scale = self.params
        return loc + scale * torch.randn_like(loc)


class FullPairs(GaussianPairs):
    """Gaussians with full covariance: parameters loc (n, d) and scale_tril (n, d, d).

    t(z) holds z and the products ``z_a z_b`` with a >= b.
    """

    @property
    def num_features(self) -> int:
        """How many statistics there are."""
        return self.dim + self.dim * (self.dim + 1) // 2

    def _lower(self) -> tuple[Tensor, Tensor]:
        rows, columns = torch.tril_indices(self.dim, self.dim, device=self.params[0].device)
        return rows, columns

    def statistics(self, z: Tensor) -> Tensor:
        """First and second powers of z (m, d)."""
        rows, columns = self._lower()
        return torch.cat([z, z[:, rows] * z[:, columns]], -1)

    def naturals(self) -> tuple[Tensor, Tensor]:
        """Natural parameters (n, k) and constants (n,)."""
        loc, factor = self.params
        rows, columns = self._lower()
        precision = torch.cholesky_inverse(factor.tril())
        linear = (precision @ loc[..., None])[..., 0]
        # A product z_a z_b with a > b stands for both of the matrix's entries.
        half = -torch.where(rows == columns, 0.5, 1.0).to(loc)
        eta = torch.cat([linear, half * precision[:, rows, columns]], -1)
        return eta, -0.5 * (linear * loc).sum(-1) - self._constant()

    def by_differences(self, z: Tensor) -> Tensor:
        """Table (m, n) without cancellation."""
        loc, factor = self.params
        difference = (z[:, None] - loc).permute(1, 2, 0)  # (n, d, m)
        white = torch.linalg.solve_triangular(factor, difference, upper=False)
        return -0.5 * white.square().sum(1).T - self._constant()

    def own(self, z: Tensor) -> Tensor:
        """Each point under its own Gaussian, (n,)."""
        loc, factor = self.params
        white = torch.linalg.solve_triangular(factor, (z - loc)[..., None], upper=False)
        return -0.5 * white.square().sum((-2, -1)) - self._constant()

    def draw(self) -> Tensor:
        """A draw of each."""
        loc, factor = self.params
        return loc + (factor @ torch.randn_like(loc)[..., None])[..., 0]

    def _constant(self) -> Tensor:
        log_scale = self.params[1].diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return log_scale + 0.5 * self.dim * _LOG_2PI


def gaussian_params(
    posterior: Distribution,
) -> tuple[type[GaussianPairs], tuple[Tensor, ...]] | None:
    """The kind of Gaussian that a distribution is, and its parameters; None if it is none.

    Only the classes themselves count: a subclass may have another density.
    """
    inner: Any = posterior
    if _is(inner, MultivariateNormal):
        factor = inner._unbroadcasted_scale_tril
        return FullPairs, (inner.loc, factor.expand(*inner.batch_shape, -1, -1))
    while isinstance(inner, Independent):
        inner = inner.base_dist
    if _is(inner, Normal):
        return DiagonalPairs, (inner.loc, inner.scale)
    return None


def _is(distribution: Distribution, kind: type) -> bool:
    """Whether it is that class of torch, or Pyro's, which adds methods to it and no density."""
    cls = type(distribution)
    of_pyro = cls.__module__.startswith("pyro.distributions") and cls.__name__ == kind.__name__
    return cls is kind or (of_pyro and issubclass(cls, kind))
