"""Laws: the map of one coordinate, given its parameters.

A new law is one dataclass here, its mathematics in each wing's ``laws`` module, one entry in
``LAWS`` and one row in the tests' table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from flowkit_core import checks
from flowkit_core.numerics import log_scale_bound
from flowkit_core.specs.base import Spec


class LawSpec(Spec):
    """A monotone map of one coordinate whose parameters come from a conditioner.

    ``num_conditioned`` parameters per coordinate come from the network; ``num_free`` more belong
    to the layer itself and depend on no input.
    """

    num_conditioned: ClassVar[int]
    num_free: ClassVar[int]


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


# Name in the recipes -> the law for a flow of that many layers.
LAWS: dict[str, Callable[[int], LawSpec]] = {
    "additive": lambda num_layers: AdditiveLaw(),
    "affine": lambda num_layers: AffineLaw(bound=log_scale_bound(num_layers)),
}


def named_law(name: str, num_layers: int) -> LawSpec:
    """The law that a recipe means by ``name`` in a flow of ``num_layers`` such layers.

    Raises:
        ValueError: for a name that is not in ``LAWS``.
    """
    return LAWS[checks.choice("law", name, LAWS)](num_layers)
