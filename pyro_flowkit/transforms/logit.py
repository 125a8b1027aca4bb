"""Logits of data in an interval: a layer without weights, next to the data."""

import math

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from flowkit_core import checks
from flowkit_core.numerics import INTERVAL_ROUNDING_ERRORS
from flowkit_core.specs import LogitSpec
from pyro_flowkit.transforms.base import Flow


class Logit(Flow):
    """``x = (sigmoid(z) - alpha) / (1 - 2 alpha)``: data in [0, 1] from real numbers.

    Towards the base ``z = logit(alpha + (1 - 2 alpha) x)``, finite at x = 0 and x = 1. The layer is
    the last one, next to the data, and has nothing to train.

    Shapes: z and x (..., D), log-determinants (...).

    Domain: the real numbers; codomain: the interval of `LogitSpec.data_interval`, which is a little
    wider than [0, 1]. Data outside of it have no logit; their z is NaN.

    Cost: D per point in either direction, exact.

    Stability: log-determinants are sums of ``log sigmoid``, for any z. Where |z| is so large (14 in
    float32, 34 in float64) that x lies within rounding of an end of its interval, the inverse gives
    back that bound instead of infinity.

    Args:
        spec: ``LogitSpec(input_dim, alpha=0.05)``.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 4.1;
        Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow", 2017 (this form, which treats
        0 and 1 alike).

    Example:
        >>> flow = Logit(LogitSpec(3, alpha=0.05))
        >>> z = flow.inv(torch.tensor([0.0, 0.5, 1.0]))
        >>> [round(v, 2) for v in z.tolist()]
        [-2.94, 0.0, 2.94]
    """

    spec: LogitSpec

    def __init__(self, spec: LogitSpec) -> None:
        checks.instance("spec", spec, LogitSpec)
        super().__init__(spec.input_dim, spec=spec)
        self.codomain = constraints.independent(constraints.interval(*spec.data_interval), 1)

    def _log_slope(self, z: Tensor) -> Tensor:
        return logsigmoid(z) + logsigmoid(-z) - math.log1p(-2 * self.spec.alpha)

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        alpha = self.spec.alpha
        x = (torch.sigmoid(z) - alpha) / (1 - 2 * alpha)
        return x, self._log_slope(z).sum(-1)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        alpha = self.spec.alpha
        log_up = torch.log(_inside(alpha + (1 - 2 * alpha) * x))
        log_down = torch.log(_inside(alpha + (1 - 2 * alpha) * (1 - x)))
        log_slope = math.log1p(-2 * alpha) - log_up - log_down
        return log_up - log_down, log_slope.sum(-1)

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        # d log slope / dz = 1 - 2 sigmoid(z) = -tanh(z / 2)
        return (score + torch.tanh(z / 2)) * torch.exp(-self._log_slope(z))


def _inside(probability: Tensor) -> Tensor:
    """A probability with what rounding has made of 0 replaced by the rounding error."""
    rounding = INTERVAL_ROUNDING_ERRORS * torch.finfo(probability.dtype).eps
    return torch.where(probability > -rounding, probability.clamp(min=rounding), probability)
