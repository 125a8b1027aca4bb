"""Mixture of diagonal Normals whose draws are differentiable by all of its parameters."""

import math

import torch
from torch import Tensor
from torch.distributions import Categorical, constraints

from pyro_flowkit.bases.mixture_of_normals import MixtureOfNormals, check_logits, chosen
from pyro_flowkit.bases.mixture_path import along_path

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class NormalMixture(MixtureOfNormals):
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
    has_rsample = True

    def __init__(
        self, locs: Tensor, scales: Tensor, logits: Tensor, *, validate_args: bool | None = None
    ) -> None:
        if locs.dim() < 2 or scales.shape[-2:] != locs.shape[-2:]:
            raise ValueError(
                "locs and scales: expected two shapes (..., K, D), got "
                f"{tuple(locs.shape)} and {tuple(scales.shape)}"
            )
        check_logits(locs, logits)
        batch = torch.broadcast_shapes(locs.shape[:-2], scales.shape[:-2], logits.shape[:-1])
        self._set(batch, locs, scales, logits)
        super().__init__(batch, locs.shape[-1:], validate_args=validate_args)

    def _set(self, batch: torch.Size, locs: Tensor, scales: Tensor, logits: Tensor) -> None:
        self.locs = locs.expand(batch + locs.shape[-2:])
        self.scales = scales.expand(batch + scales.shape[-2:])
        self.logits = logits.expand(batch + logits.shape[-1:])

    @property
    def _spread(self) -> Tensor:
        return self.scales

    def _within(self) -> Tensor:
        return self.scales**2

    def _each(self, value: Tensor) -> Tensor:
        e = (value.unsqueeze(-2) - self.locs) / self.scales
        return (-0.5 * e**2 - self.scales.log() - _LOG_SQRT_2PI).sum(-1)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws of shape ``sample_shape + batch + (D,)``, differentiable by all parameters."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            which = Categorical(logits=self.logits, validate_args=False).sample(
                torch.Size(sample_shape)
            )
            noise = torch.randn(shape, dtype=self.locs.dtype, device=self.locs.device)
            z = chosen(self.locs, which, 1) + chosen(self.scales, which, 1) * noise
        return along_path(z, self.locs, self.scales, self.logits)
