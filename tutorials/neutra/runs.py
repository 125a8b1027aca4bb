"""What a run of NUTS yields, and what is asked of it. Knows neither library."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Length:
    """How long a run is: equal for NUTS before and after, or they could not be compared."""

    chains: int
    warmup: int
    draws: int
    fit_steps: int = 5000


@dataclass(frozen=True)
class Run:
    """Draws of one sampler, (chains, draws) each.

    Args:
        mu: common effect.
        log_tau: logarithm of the spread between schools, (chains, draws).
        theta: effects of the schools, (chains, draws, 8).
        diverging: which transitions diverged, (chains, draws).
        leapfrogs: leapfrog steps of all draws; those of the warmup do not count.
        seconds: that these draws took, without warmup and compilation.
        fit_seconds: that the guide's fit took; none without a guide.
        warped: what NUTS saw if that was not the model's own coordinates, (chains, draws, 10).
    """

    mu: np.ndarray
    log_tau: np.ndarray
    theta: np.ndarray
    diverging: np.ndarray
    leapfrogs: int
    seconds: float
    fit_seconds: float = 0.0
    warped: np.ndarray | None = None

    @property
    def quantities(self):
        """Name -> draws (chains, draws) of every latent, tau on the scale that NUTS sees."""
        thetas = {f"theta {j + 1}": self.theta[..., j] for j in range(self.theta.shape[-1])}
        return {"mu": self.mu, "log tau": self.log_tau, **thetas}

    @property
    def effective(self):
        """Name -> bulk effective sample size (Vehtari et al., 2021)."""
        import arviz  # takes seconds to import, which only this needs

        return {name: float(arviz.ess(draws)) for name, draws in self.quantities.items()}

    def mean_and_error(self, name):
        """Posterior mean of a quantity, and its Monte Carlo standard error as the draws have it."""
        import arviz

        draws = self.quantities[name]
        return float(draws.mean()), float(arviz.mcse(draws, method="mean"))
