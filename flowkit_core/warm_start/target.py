"""What a wing tells of a posterior, in float64 whatever the model computes in."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Target(Protocol):
    """An unnormalised log-density of unconstrained latents, in nats."""

    eps: float
    """Rounding unit of the numbers that the model computes with."""

    def log_densities(self, points: Floats) -> Floats:
        """Log-density of each of the points (n, D)."""

    def value_and_gradient(self, point: Floats) -> tuple[float, Floats]:
        """Log-density of one point (D,) and its gradient."""

    def hessian(self, point: Floats) -> Floats:
        """Second derivatives at one point, (D, D)."""
