"""Logits of data in an interval."""

from dataclasses import dataclass

from flowkit_core import checks
from flowkit_core.specs.base import ArraySpec, FlowSpec


@dataclass(frozen=True)
class LogitSpec(FlowSpec, kind="logit"):
    """``x = (sigmoid(z) - alpha) / (1 - 2 alpha)``: data in [0, 1] from real numbers.

    Args:
        input_dim: number of coordinates D.
        alpha: 0 < alpha < 0.5, how far inside (0, 1) the ends of [0, 1] are moved before the
            logit; with 0 data at the ends would be infinitely far out.
    """

    input_dim: int
    alpha: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_dim", checks.positive_int("input_dim", self.input_dim))
        object.__setattr__(self, "alpha", checks.positive_float("alpha", self.alpha))
        if self.alpha >= 0.5:
            raise ValueError(f"alpha: expected a number between 0 and 0.5, got {self.alpha}")

    @property
    def data_interval(self) -> tuple[float, float]:
        """The interval that sigmoids are mapped to; [0, 1] lies inside of it."""
        margin = self.alpha / (1 - 2 * self.alpha)
        return -margin, 1 + margin

    def arrays(self) -> tuple[ArraySpec, ...]:
        """None: nothing is trained."""
        return ()

    def summary(self) -> str:
        """One line that names the layer, its size and its margin."""
        return f"Logit(input_dim={self.input_dim}, alpha={self.alpha})"
