"""A Gaussian over unconstrained latents, and the ELBO that it has as a guide."""

import math
from dataclasses import dataclass

import numpy as np

from flowkit_core.warm_start.target import Floats, Target


@dataclass(frozen=True)
class Gaussian:
    """``N(loc, L L^T)``.

    Args:
        loc: (D,).
        scale: lower triangular L, (D, D), or the diagonal of a diagonal one, (D,).

    Example:
        >>> Gaussian(np.zeros(2), np.array([1.0, 2.0])).push(np.ones((1, 2))).tolist()
        [[1.0, 2.0]]
    """

    loc: Floats
    scale: Floats

    @property
    def sds(self) -> Floats:
        """Marginal standard deviations."""
        if self.scale.ndim == 1:
            return self.scale
        sds: Floats = np.sqrt(np.square(self.scale).sum(1))
        return sds

    @property
    def log_det(self) -> float:
        """Logarithm of the determinant of L."""
        diagonal = self.scale if self.scale.ndim == 1 else np.diagonal(self.scale)
        return float(np.log(diagonal).sum())

    def push(self, z: Floats) -> Floats:
        """Standard Normal rows (n, D) to draws."""
        spread = z * self.scale if self.scale.ndim == 1 else z @ self.scale.T
        return np.asarray(self.loc + spread)

    def elbo(self, target: Target, z: Floats) -> tuple[float, float]:
        """Evidence lower bound and its standard error, from standard Normal rows (n, D).

        ``mean log p(loc + L z) + log |det L| + D/2 log(2 pi e)``; minus infinity if the density of
        any draw is not finite, since the Gaussian then covers what the posterior does not.
        """
        log_p = target.log_densities(self.push(z))
        if not np.isfinite(log_p).all():
            return -math.inf, 0.0
        entropy = self.log_det + 0.5 * len(self.loc) * (1 + math.log(2 * math.pi))
        error = float(log_p.std(ddof=1)) / math.sqrt(len(log_p))
        return float(log_p.mean()) + entropy, error
