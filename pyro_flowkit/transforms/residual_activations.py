r"""Activations h of planar and Sylvester layers: values, slopes, and the equation to invert them.

Both layers come down to ``y + g h(y) = v`` for single numbers, with a gain g > -1. Since h rises
by at most 1 per unit, the left side rises with y, and there is one y for every v.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from flowkit_core.numerics import MIN_RESIDUAL_SLOPE
from pyro_flowkit.transforms.newton import tanh_and_slope, tanh_root


def invertible(product: Tensor) -> tuple[Tensor, Tensor]:
    r"""A factor for one of two weights a, b whose product is given, and the gain that results.

    With ``s = asinh(ab / k)``, ``k = 1 - MIN_RESIDUAL_SLOPE``, the factor is ``2 sigmoid(s)`` and
    the new product exactly ``k expm1(s) > -k``: any a, b give a valid gain, every valid gain is
    reached, 0 stays exactly 0 with slope 1, large products are not limited, and nothing is divided,
    so that zero weights do no harm. (Rezende and Mohamed 2015, appendix A.1, shift u along w by a
    softplus, which divides by the length of w and is not the identity at u = 0.)

    Shapes: any; both results are of the same.
    """
    largest_contraction = 1 - MIN_RESIDUAL_SLOPE
    log_ratio = torch.asinh(product / largest_contraction)
    return 2 * torch.sigmoid(log_ratio), largest_contraction * torch.expm1(log_ratio)


class ResidualActivation(ABC):
    """An increasing function h with h(0) = 0 and slopes of at most 1, number by number."""

    # Whether `solve` iterates.
    iterative: bool

    @abstractmethod
    def bend(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """h(y) and h'(y)."""

    @abstractmethod
    def curvature(self, h: Tensor, slope: Tensor) -> Tensor:
        """h''(y), given h(y) and h'(y)."""

    @abstractmethod
    def solve(self, gain: Tensor, v: Tensor, max_iterations: int) -> Tensor:
        """The y with ``y + gain h(y) = v``; shapes broadcast.

        Raises:
            InverseNotConverged: see `newton.tanh_root`.
        """


class Tanh(ResidualActivation):
    """The hyperbolic tangent."""

    iterative = True

    def bend(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """h(y) and h'(y)."""
        return tanh_and_slope(y)

    def curvature(self, h: Tensor, slope: Tensor) -> Tensor:
        """h''(y), given h(y) and h'(y)."""
        return -2 * h * slope

    def solve(self, gain: Tensor, v: Tensor, max_iterations: int) -> Tensor:
        """The y with ``y + gain h(y) = v``; shapes broadcast.

        Raises:
            InverseNotConverged: see `newton.tanh_root`.
        """
        return tanh_root(gain, v, max_iterations)


class LeakyRelu(ResidualActivation):
    """``max(y, 0.01 y)``, piecewise linear, with a closed-form inverse."""

    iterative = False
    slope_below_zero = 0.01

    def _slope(self, y: Tensor) -> Tensor:
        below = torch.full_like(y, self.slope_below_zero)
        return torch.where(y < 0, below, torch.ones_like(y))

    def bend(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """h(y) and h'(y)."""
        slope = self._slope(y)
        return slope * y, slope

    def curvature(self, h: Tensor, slope: Tensor) -> Tensor:
        """h''(y), given h(y) and h'(y)."""
        return torch.zeros_like(h)

    def solve(self, gain: Tensor, v: Tensor, max_iterations: int) -> Tensor:
        """The y with ``y + gain h(y) = v``; y and v have the same sign."""
        return v / (1 + gain * self._slope(v))


# The names are those of `flowkit_core.specs.residual.RESIDUAL_ACTIVATIONS`.
RESIDUAL_ACTIVATIONS: dict[str, ResidualActivation] = {"tanh": Tanh(), "leaky_relu": LeakyRelu()}
