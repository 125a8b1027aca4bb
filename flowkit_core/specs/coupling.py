"""Coupling layers: some coordinates pass through and yield the law of the others."""

from dataclasses import dataclass

from flowkit_core import checks
from flowkit_core.specs.autoregressive import free_arrays
from flowkit_core.specs.base import ArraySpec, FlowSpec, prefixed
from flowkit_core.specs.conditioners import MLPSpec
from flowkit_core.specs.laws import AdditiveLaw, AffineLaw, LawSpec


@dataclass(frozen=True)
class CouplingSpec(FlowSpec, kind="coupling"):
    """RealNVP's and NICE's layer with any boolean mask (Dinh et al. 2017, equation 9).

    A mask that is all False is allowed: the law then depends on the context alone, which is what
    D = 1 needs. A mask that is all True would leave the layer nothing to do and is refused.

    Args:
        mask: True where a coordinate passes through and is seen by the conditioner.
        conditioner: network from the True coordinates to the laws of the False ones.
        law: the map of one coordinate.
        volume_preserving: the log-scales of an affine law, centred over the transformed
            coordinates: they sum to zero, and the log-determinant is 0. Each lies within twice the
            law's bound of its (centred) free bias; of a single coordinate nothing is left but the
            shift.
    """

    mask: tuple[bool, ...]
    conditioner: MLPSpec
    law: LawSpec
    volume_preserving: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", checks.boolean_mask("mask", self.mask))
        checks.instance("conditioner", self.conditioner, MLPSpec)
        checks.instance("law", self.law, LawSpec)
        checks.boolean("volume_preserving", self.volume_preserving)
        if self.volume_preserving and not isinstance(self.law, AffineLaw | AdditiveLaw):
            raise ValueError(
                "volume_preserving: expected the law 'affine', whose log-scales can be centred, or "
                f"'additive', which preserves volume as it is, got {self.law.kind!r}, whose slope "
                "changes from point to point"
            )
        if all(self.mask):
            raise ValueError(
                "mask: expected at least one False entry (a coordinate to transform), "
                f"got all {len(self.mask)} True"
            )
        expected = (sum(self.mask), self.law.num_conditioned * self.num_transformed)
        got = (self.conditioner.num_inputs, self.conditioner.num_outputs)
        if got != expected:
            raise ValueError(
                f"conditioner: this mask and law need (num_inputs, num_outputs)={expected}, "
                f"got {got}"
            )

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return len(self.mask)

    @property
    def num_transformed(self) -> int:
        """Number of coordinates that the law maps."""
        return len(self.mask) - sum(self.mask)

    @property
    def context_dim(self) -> int:
        """Length of the context vector; 0 for none."""
        return self.conditioner.context_dim

    def arrays(self) -> tuple[ArraySpec, ...]:
        """The conditioner's arrays, then the law's free parameters."""
        return (
            *prefixed("conditioner", self.conditioner.arrays()),
            *free_arrays(self.law, self.num_transformed),
        )

    def summary(self) -> str:
        """One line that names the layer and what sets it apart."""
        shown = "".join("1" if m else "0" for m in self.mask[:16])
        shown += "..." if len(self.mask) > 16 else ""
        net = self.conditioner
        context = f", context_dim={net.context_dim}" if net.context_dim else ""
        volume = ", volume_preserving" if self.volume_preserving else ""
        return (
            f"Coupling(input_dim={self.input_dim}, hidden_dims={net.hidden_dims}, "
            f"law={self.law.kind}, mask={shown}{volume}{context})"
        )
