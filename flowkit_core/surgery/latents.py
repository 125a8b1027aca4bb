"""ELBO surgery latent by latent."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowkit_core.surgery.estimate import Estimate, Floats, mean_over_rows

# A latent is active if its posterior mean varies more than this between data points.
ACTIVE_VARIANCE = 0.01


@dataclass(frozen=True)
class LatentSurgery:
    """The average and the marginal KL, latent by latent; made by `latent_surgery`. In nats.

    ``marginal KL = total correlation + sum_d KL(q(z_d) || p(z_d))`` for a prior of independent
    latents: how far the latents of the aggregated posterior are from independent, and how far each
    is from its prior.

    Args:
        total_correlation: ``KL(q(z) || prod_d q(z_d))``.
        avg_kl: ``(1/n) sum_i KL(q(z_d | x_i) || p(z_d))`` of each latent, (d,).
        marginal_kl: ``KL(q(z_d) || p(z_d))`` of each latent, (d,).
        variances: variance over data points of the posterior mean of each latent, (d,).

    References:
        Chen, Li, Grosse, Duvenaud, "Isolating Sources of Disentanglement in VAEs", 2018, equation
        2; Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.2
        (active units).
    """

    total_correlation: Estimate
    avg_kl: tuple[Estimate, ...]
    marginal_kl: tuple[Estimate, ...]
    variances: Floats = field(repr=False, compare=False)

    @property
    def active(self) -> tuple[bool, ...]:
        """Which latents the data move: variance of the mean above 0.01."""
        return tuple(bool(flag) for flag in self.variances > ACTIVE_VARIANCE)

    @property
    def num_active(self) -> int:
        """How many latents are active."""
        return sum(self.active)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what fits into JSON."""
        return {
            "total_correlation": self.total_correlation.to_dict(),
            "avg_kl": [one.to_dict() for one in self.avg_kl],
            "marginal_kl": [one.to_dict() for one in self.marginal_kl],
            "variances": self.variances.tolist(),
            "num_active": self.num_active,
        }

    def __str__(self) -> str:
        lines = [
            f"total correlation {self.total_correlation}, {self.num_active} of "
            f"{len(self.avg_kl)} latents active",
            f"{'latent':>6}  {'average KL':>16}  {'marginal KL':>16}  {'variance':>8}  active",
        ]
        for index in np.argsort([-one.value for one in self.avg_kl]):
            lines.append(
                f"{index:>6}  {self.avg_kl[index]!s:>16}  {self.marginal_kl[index]!s:>16}  "
                f"{self.variances[index]:8.3f}  {'yes' if self.active[index] else 'no'}"
            )
        return "\n".join(lines)


def latent_surgery_of_terms(
    aggregate: Floats, own: Floats, prior: Floats, marginals: Floats, means: Floats
) -> LatentSurgery:
    """From log-densities of draws z (num_samples, n, d).

    Args:
        aggregate: ``log q(z)``, (num_samples, n).
        own: ``log q(z_d | x_i)`` of the own data point, (num_samples, n, d).
        prior: ``log p(z_d)``, the same shape.
        marginals: ``log q(z_d)``, the same shape.
        means: of each posterior, (n, d).

    Example:
        >>> zeros = np.zeros((1, 4, 2))
        >>> found = latent_surgery_of_terms(zeros[..., 0], zeros, zeros - 1, zeros, zeros[0])
        >>> found.num_active, [one.value for one in found.marginal_kl]
        (0, [1.0, 1.0])
    """
    columns = range(own.shape[-1])
    return LatentSurgery(
        total_correlation=mean_over_rows(aggregate - marginals.sum(-1)),
        avg_kl=tuple(mean_over_rows((own - prior)[..., d]) for d in columns),
        marginal_kl=tuple(mean_over_rows((marginals - prior)[..., d]) for d in columns),
        variances=means.var(0),
    )


def log_mean_weights(log_weights: Floats) -> Floats:
    """``log (1/K) sum_k w_k`` of each data point, (n,), from log-weights (K, n) of draws.

    Example:
        >>> bool(np.allclose(log_mean_weights(np.log([[1.0], [3.0]])), np.log([2.0])))
        True
    """
    largest = log_weights.max(0)
    return np.asarray(largest + np.log(np.exp(log_weights - largest).mean(0)))
