"""Masked autoregressive layers, in both orientations."""

from dataclasses import dataclass

from flowkit_core import checks, masks
from flowkit_core.specs.base import ArraySpec, FlowSpec, prefixed
from flowkit_core.specs.conditioners import MADESpec
from flowkit_core.specs.laws import LawSpec

# How the sequential direction is found; each wing's ``transforms.solver`` says what they cost.
INVERSES = ("auto", "sweep", "fixed_point")


@dataclass(frozen=True)
class AutoregressiveSpec(FlowSpec):
    """What both orientations share.

    Args:
        conditioner: the masked network; it works in autoregressive order.
        law: the map of one coordinate.
        order: coordinate ``order[j]`` is the j-th in the order and depends on those before it.
        inverse: how the sequential direction is found: "sweep", coordinate by coordinate with the
            arithmetic of one pass; "fixed_point", parallel passes until nothing changes; "auto",
            whichever is expected to be faster. It changes the cost and rounding, nothing else.
    """

    conditioner: MADESpec
    law: LawSpec
    order: tuple[int, ...]
    inverse: str = "auto"

    def __post_init__(self) -> None:
        checks.instance("conditioner", self.conditioner, MADESpec)
        checks.instance("law", self.law, LawSpec)
        checks.choice("inverse", self.inverse, INVERSES)
        object.__setattr__(self, "order", checks.permutation("order", self.order))
        if len(self.order) != self.conditioner.input_dim:
            raise ValueError(
                f"order: expected {self.conditioner.input_dim} indices, one per input of the "
                f"conditioner, got {len(self.order)}"
            )
        if self.conditioner.num_params != self.law.num_conditioned:
            raise ValueError(
                f"conditioner: the law {self.law.kind!r} needs {self.law.num_conditioned} "
                f"parameters per coordinate, got num_params={self.conditioner.num_params}"
            )

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return len(self.order)

    @property
    def context_dim(self) -> int:
        """Length of the context vector; 0 for none."""
        return self.conditioner.context_dim

    def arrays(self) -> tuple[ArraySpec, ...]:
        """The conditioner's arrays, then the law's free parameters."""
        return (
            *prefixed("conditioner", self.conditioner.arrays()),
            *free_arrays(self.law, self.input_dim),
        )

    def summary(self) -> str:
        """One line that names the layer and what sets it apart."""
        net = self.conditioner
        parts = [f"input_dim={self.input_dim}", f"hidden_dims={net.hidden_dims}"]
        parts.append(f"law={self.law.kind}")
        parts.append(f"order={order_name(self.order)}")
        parts += ["residual"] if net.residual else []
        parts += [f"context_dim={net.context_dim}"] if net.context_dim else []
        parts += [f"inverse={self.inverse}"] if self.inverse != "auto" else []
        return f"{type(self).__name__.removesuffix('Spec')}({', '.join(parts)})"


@dataclass(frozen=True)
class MaskedAutoregressiveSpec(AutoregressiveSpec, kind="masked_autoregressive"):
    """MAF: parameters are functions of the data x, so scoring is one pass (Papamakarios 2017)."""

    @property
    def sequential_forward(self) -> bool:
        """Sampling goes coordinate by coordinate."""
        return True


@dataclass(frozen=True)
class InverseAutoregressiveSpec(AutoregressiveSpec, kind="inverse_autoregressive"):
    """IAF: parameters are functions of the base z, so sampling is one pass (Kingma 2016)."""

    @property
    def sequential_inverse(self) -> bool:
        """Scoring foreign data goes coordinate by coordinate."""
        return True


def free_arrays(law: LawSpec, num_coordinates: int) -> tuple[ArraySpec, ...]:
    """The law's free parameters: one row per parameter, one column per coordinate."""
    return (ArraySpec("free", (law.num_free, num_coordinates)),) if law.num_free else ()


def order_name(order: tuple[int, ...]) -> str:
    """``natural``, ``reverse`` or the order itself, shortened."""
    if order == masks.natural_order(len(order)):
        return "natural"
    if order == masks.reverse_order(len(order)):
        return "reverse"
    shown = ", ".join(map(str, order[:6]))
    return f"({shown}{', ...' if len(order) > 6 else ''})"
