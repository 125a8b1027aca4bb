"""Laws: the map of one coordinate, given its parameters.

A new law is one dataclass here, its mathematics in each wing's ``laws`` package, one entry in
``LAWS`` and one row in the tests' table.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from flowkit_core import checks
from flowkit_core.numerics import MIN_BIN_WIDTH, SPLINE_BOUND, log_scale_bound, spline_soft_bound
from flowkit_core.specs.base import Spec


class LawSpec(Spec):
    """A monotone map of one coordinate whose parameters come from a conditioner.

    ``num_conditioned`` parameters per coordinate come from the network; ``num_free`` more belong
    to the layer itself and depend on no input.
    """

    @property
    @abstractmethod
    def num_conditioned(self) -> int:
        """Parameters per coordinate that come from a conditioner."""

    @property
    @abstractmethod
    def num_free(self) -> int:
        """Parameters per coordinate that belong to the layer and depend on no input."""


@dataclass(frozen=True)
class AdditiveLaw(LawSpec, kind="additive"):
    """``x = z + t``: volume preserving (NICE, Dinh et al. 2015, equation 9)."""

    num_conditioned: ClassVar[int] = 1
    num_free: ClassVar[int] = 0


@dataclass(frozen=True)
class AffineLaw(LawSpec, kind="affine"):
    """``x = z * exp(s) + t`` with ``s = b + c * tanh(h / c)``.

    The conditioner yields the shift t and the raw log-scale h; b is free. See
    `flowkit_core.numerics.log_scale_bound` for the soft bound c.

    Args:
        bound: c > 0, half-width of the soft bound on the conditioned log-scale.
    """

    bound: float = 2.0
    num_conditioned: ClassVar[int] = 2
    num_free: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "bound", checks.positive_float("bound", self.bound))


@dataclass(frozen=True)
class SplineLaw(LawSpec, kind="spline"):
    """A monotone rational-quadratic spline in a box, the identity outside it, then an affine map.

    ``x = S(z) * exp(b) + t``. S maps [-bound, bound] onto itself through K bins and is linear of
    slope 1 outside (Durkan et al. 2019). The conditioner yields K raw widths, K raw heights and
    K - 1 raw slopes at the inner knots; t and b are free, since S can neither shift nor scale what
    lies outside its box.

    Args:
        num_bins: K >= 2; one bin between fixed corners is the identity, with nothing to learn.
        bound: half-width of the box, in units of the layer's input; see
            `flowkit_core.numerics.SPLINE_BOUND` for the default.
        soft_bound: c > 0, half-width of the soft bound ``c * tanh(h / c)`` on each raw parameter h.
            Slopes at knots stay within exp(+-c) and no bin is narrower than 1 / (K exp(2c)) of the
            box, which has to be at least `flowkit_core.numerics.MIN_BIN_WIDTH`; see
            `flowkit_core.numerics.spline_soft_bound` for the choice.
    """

    num_bins: int = 8
    bound: float = SPLINE_BOUND
    soft_bound: float = 1.5
    num_free: ClassVar[int] = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_bins", checks.int_at_least("num_bins", self.num_bins, 2))
        for name in ("bound", "soft_bound"):
            object.__setattr__(self, name, checks.positive_float(name, getattr(self, name)))
        largest = -0.5 * (math.log(MIN_BIN_WIDTH) + math.log(self.num_bins))
        if self.soft_bound > largest:
            raise ValueError(
                f"soft_bound: {self.num_bins} bins that single precision can tell apart need at "
                f"most {largest:.4g}, got {self.soft_bound}"
            )

    @property
    def num_conditioned(self) -> int:
        """3 K - 1: widths, heights and inner slopes."""
        return 3 * self.num_bins - 1


# Name in the recipes -> the law for a flow of that many layers.
LAWS: dict[str, Callable[[int], LawSpec]] = {
    "additive": lambda num_layers: AdditiveLaw(),
    "affine": lambda num_layers: AffineLaw(bound=log_scale_bound(num_layers)),
    "spline": lambda num_layers: SplineLaw(soft_bound=spline_soft_bound(num_layers)),
}


def named_law(name: str, num_layers: int) -> LawSpec:
    """The law that a recipe means by ``name`` in a flow of ``num_layers`` such layers.

    Raises:
        ValueError: for a name that is not in ``LAWS``.
    """
    return LAWS[checks.choice("law", name, LAWS)](num_layers)
