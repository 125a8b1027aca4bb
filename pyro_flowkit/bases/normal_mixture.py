"""Mixture of diagonal Normals whose draws are differentiable by all of its parameters."""

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Categorical, constraints

from pyro_flowkit.bases.mixture_path import along_path

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class NormalMixture(TorchDistribution):
    """``p(z) = sum_k w_k prod_i N(z_i; m_ki, s_ki)``, with ``w = softmax(logits)``.

    Shapes: locs and scales (..., K, D), logits (..., K); event (D,), batch (...).

    Args:
        locs: means m.
        scales: standard deviations s.
        logits: log-weights, up to a constant.
        validate_args: as for every Pyro distribution.

    Raises:
        ValueError: if the shapes do not fit each other.

    References:
        See `mixture_path` for the gradients of draws. (Pyro's `MixtureOfDiagNormals` needs D > 1,
        and its gradient by the logits is biased.)

    Example:
        >>> scales = torch.ones(2, 3)
        >>> mixture = NormalMixture(torch.zeros(2, 3), scales, torch.zeros(2))
        >>> mixture.rsample((5,)).shape, mixture.variance
        (torch.Size([5, 3]), tensor([1., 1., 1.]))
    """

    arg_constraints = {
        "locs": constraints.independent(constraints.real, 2),
        "scales": constraints.independent(constraints.positive, 2),
        "logits": constraints.real_vector,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, locs: Tensor, scales: Tensor, logits: Tensor, *, validate_args: bool | None = None
    ) -> None:
        if locs.dim() < 2 or scales.shape[-2:] != locs.shape[-2:]:
            raise ValueError(
                "locs and scales: expected two shapes (..., K, D), got "
                f"{tuple(locs.shape)} and {tuple(scales.shape)}"
            )
        if logits.dim() < 1 or logits.shape[-1] != locs.shape[-2]:
            raise ValueError(
                f"logits: expected shape (..., {locs.shape[-2]}), got {tuple(logits.shape)}"
            )
        batch = torch.broadcast_shapes(locs.shape[:-2], scales.shape[:-2], logits.shape[:-1])
        self._set(batch, locs, scales, logits)
        super().__init__(batch, locs.shape[-1:], validate_args=validate_args)

    def _set(self, batch: torch.Size, locs: Tensor, scales: Tensor, logits: Tensor) -> None:
        self.locs = locs.expand(batch + locs.shape[-2:])
        self.scales = scales.expand(batch + scales.shape[-2:])
        self.logits = logits.expand(batch + logits.shape[-1:])

    def expand(self, batch_shape: Any, _instance: Any = None) -> "NormalMixture":
        """The same distribution with another batch shape."""
        new: NormalMixture = self._get_checked_instance(NormalMixture, _instance)
        batch = torch.Size(batch_shape)
        new._set(batch, self.locs, self.scales, self.logits)
        super(NormalMixture, new).__init__(batch, self.event_shape, validate_args=False)
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
        return (self.weights.unsqueeze(-1) * (self.scales**2 + apart**2)).sum(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, of shape batch."""
        if self._validate_args:
            self._validate_sample(value)
        e = (value.unsqueeze(-2) - self.locs) / self.scales
        each = (-0.5 * e**2 - self.scales.log() - _LOG_SQRT_2PI).sum(-1)
        return (self.logits.log_softmax(-1) + each).logsumexp(-1)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws of shape ``sample_shape + batch + (D,)``, differentiable by all parameters."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            which = Categorical(logits=self.logits, validate_args=False).sample(
                torch.Size(sample_shape)
            )
            noise = torch.randn(shape, dtype=self.locs.dtype, device=self.locs.device)
            z = _chosen(self.locs, which) + _chosen(self.scales, which) * noise
        return along_path(z, self.locs, self.scales, self.logits)


def _chosen(rows: Tensor, which: Tensor) -> Tensor:
    """Row ``which`` (..., ) of rows (..., K, D)."""
    index = which[..., None, None].expand(*which.shape, 1, rows.shape[-1])
    return rows.expand(*which.shape, *rows.shape[-2:]).gather(-2, index).squeeze(-2)
