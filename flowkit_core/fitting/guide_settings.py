"""Settings of a guide's fit, equal in both wings."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from flowkit_core import checks
from flowkit_core.warm_start import METHODS

# Draws behind the ELBO of the weights that are compared at the end, and how many at once.
EVALUATION_DRAWS = 4096
EVALUATION_CHUNK = 256

GRADIENTS = ("auto", "path", "total")


@dataclass(frozen=True)
class GuideFitSettings:
    """Validated settings of `fit_guide`; everything random is drawn from ``seed`` alone."""

    num_steps: int
    num_particles: int
    learning_rate: float
    max_grad_norm: float
    gradient: str
    warm_start: str | None
    num_starts: int
    seed: int

    def __post_init__(self) -> None:
        checked = {  # as plain numbers, since they are written to files
            "num_steps": checks.positive_int("num_steps", self.num_steps),
            "num_particles": checks.positive_int("num_particles", self.num_particles),
            "learning_rate": checks.positive_float("learning_rate", self.learning_rate),
            "max_grad_norm": checks.positive_float("max_grad_norm", self.max_grad_norm),
            "gradient": checks.choice("gradient", self.gradient, GRADIENTS),
            "num_starts": checks.positive_int("num_starts", self.num_starts),
            "seed": checks.int_at_least("seed", self.seed, 0),
        }
        if self.warm_start is not None:
            checks.choice("warm_start", self.warm_start, METHODS)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    @property
    def window(self) -> int:
        """Steps between two looks at the losses."""
        return max(10, min(200, self.num_steps // 50))


def budget(max_seconds: float | None) -> float:
    """A checked time budget in seconds; infinite for None."""
    return math.inf if max_seconds is None else checks.positive_float("max_seconds", max_seconds)
