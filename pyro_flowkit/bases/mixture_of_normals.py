"""What mixtures of Normals have in common, diagonal or full."""

from abc import abstractmethod
from typing import Any

from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints


class MixtureOfNormals(TorchDistribution):
    """``p(z) = sum_k w_k N(z; m_k, S_k)``, with ``w = softmax(logits)``.

    A kind of mixture says how its covariances are given: `_set` keeps them, `_spread` names them.
    """

    support = constraints.real_vector
    locs: Tensor
    logits: Tensor

    @abstractmethod
    def _set(self, batch: Size, locs: Tensor, spread: Tensor, logits: Tensor) -> None:
        """Keep the parameters of a mixture of that batch shape."""

    @property
    @abstractmethod
    def _spread(self) -> Tensor:
        """What the covariances are given by."""

    @abstractmethod
    def _within(self) -> Tensor:
        """Variance of each coordinate within each component, (..., K, D)."""

    @abstractmethod
    def _each(self, value: Tensor) -> Tensor:
        """Log-density of each component, (..., K)."""

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with another batch shape."""
        new = self._get_checked_instance(type(self), _instance)
        batch = Size(batch_shape)
        new._set(batch, self.locs, self._spread, self.logits)
        TorchDistribution.__init__(new, batch, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def weights(self) -> Tensor:
        """Weight of each component, (..., K)."""
        return self.logits.softmax(-1)

    @property
    def mean(self) -> Tensor:
        """Mean (..., D)."""
        return (self.weights.unsqueeze(-1) * self.locs).sum(-2)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, (..., D)."""
        apart = self.locs - self.mean.unsqueeze(-2)
        return (self.weights.unsqueeze(-1) * (self._within() + apart**2)).sum(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, of shape batch."""
        if self._validate_args:
            self._validate_sample(value)
        return (self.logits.log_softmax(-1) + self._each(value)).logsumexp(-1)


def check_logits(locs: Tensor, logits: Tensor) -> None:
    """Raise unless there is a weight for each component."""
    if logits.dim() < 1 or logits.shape[-1] != locs.shape[-2]:
        raise ValueError(
            f"logits: expected shape (..., {locs.shape[-2]}), got {tuple(logits.shape)}"
        )


def chosen(rows: Tensor, which: Tensor, event_dim: int) -> Tensor:
    """Row ``which`` (...) of rows (..., K, *event)."""
    size, event = rows.shape[-1 - event_dim :], rows.shape[-event_dim:]
    index = which.reshape(*which.shape, *[1] * (event_dim + 1)).expand(*which.shape, 1, *event)
    along = -1 - event_dim
    return rows.expand(*which.shape, *size).gather(along, index).squeeze(along)
