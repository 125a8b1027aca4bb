"""Reports: what a computation says about its own quality."""

from collections.abc import Sequence
from dataclasses import dataclass


class ConvergenceWarning(RuntimeWarning):
    """An iteration ended, out of steps, while its result still moved by more than rounding."""


class InverseNotConverged(ArithmeticError):
    """The iteration that inverts a planar or Sylvester layer ran out of steps.

    A larger ``max_iterations`` of the recipe helps; the default is enough for any weights of
    ordinary size.

    Example:
        >>> raise InverseNotConverged.of(3, 100)
        Traceback (most recent call last):
            ...
        flowkit_core.reports.InverseNotConverged: inverse: 3 of 100 points have not converged ...
    """

    @classmethod
    def of(cls, unfinished: int, total: int) -> "InverseNotConverged":
        """The error for some of ``total`` points."""
        return cls(
            f"inverse: {unfinished} of {total} points have not converged within max_iterations of "
            "a planar or Sylvester layer; give the recipe a larger max_iterations"
        )


@dataclass(frozen=True)
class LayerRoundTrip:
    """How well one layer undoes itself on the points it was given.

    Args:
        layer: the layer's name.
        method: how the direction was found: "closed form", "sweep", "fixed_point" or "newton".
        iterations: parallel passes that a fixed point took; None for the other methods.
        residual: largest ``|v - p(u)| / (1 + |v|)`` over points and coordinates, where u is what
            the layer made of v and p its other direction; NaN if either is not finite.
        tolerance: residual up to which the layer counts as converged
            (`flowkit_core.numerics.round_trip_tolerance`).
    """

    layer: str
    method: str
    iterations: int | None
    residual: float
    tolerance: float

    @property
    def converged(self) -> bool:
        """Whether the residual is within the tolerance; never true of NaN."""
        return self.residual <= self.tolerance


@dataclass(frozen=True)
class RoundTripReport:
    """`LayerRoundTrip` of every layer, in the order in which the direction applies them.

    Example:
        >>> report = RoundTripReport([LayerRoundTrip("Maf", "fixed_point", 6, 2e-7, 1e-4)])
        >>> print(report)
        layer  method       iterations  residual  converged
        Maf    fixed_point           6   2.0e-07  yes
        >>> report.converged, report.residual
        (True, 2e-07)
    """

    layers: Sequence[LayerRoundTrip]

    @property
    def converged(self) -> bool:
        """Whether every layer's residual is within its tolerance."""
        return all(layer.converged for layer in self.layers)

    @property
    def residual(self) -> float:
        """The largest residual of any layer; NaN if one is NaN."""
        # max() alone would pass over a NaN that does not come first.
        residuals = [layer.residual for layer in self.layers]
        return next((r for r in residuals if r != r), max(residuals, default=0.0))

    def __str__(self) -> str:
        width = max([len("layer"), *(len(row.layer) for row in self.layers)])
        lines = [f"{'layer':{width}}  method       iterations  residual  converged"]
        for row in self.layers:
            count = "-" if row.iterations is None else str(row.iterations)
            verdict = "yes" if row.converged else "NO"
            lines.append(
                f"{row.layer:{width}}  {row.method:11}  {count:>10}  {row.residual:8.1e}  {verdict}"
            )
        return "\n".join(lines)
