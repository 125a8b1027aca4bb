"""What the fit of a prior to the aggregated posterior returns."""

from dataclasses import dataclass, fields

from flowkit_core.fitting.result import FitResult
from flowkit_core.surgery.estimate import Estimate, Floats, mean_over_rows


@dataclass(frozen=True)
class PriorFitResult(FitResult):
    """Outcome of fitting a flow to the aggregated posterior q(z); ``print`` tells what it gained.

    Args:
        marginal_kl_before: ``KL(q(z) || p)`` of the prior before, nats per data point.
        marginal_kl_after: of the fitted flow, by draws that the fit has not seen.

    Example:
        >>> result = PriorFitResult(
        ...     None, (1.0,), (), 0, "epochs", 0, Estimate(2.0, 0.03), Estimate(0.5, 0.04)
        ... )
        >>> print(result)
        marginal KL 2.000 +- 0.030 before, 0.500 +- 0.040 after: the ELBO gains 1.500 nats
    """

    marginal_kl_before: Estimate
    marginal_kl_after: Estimate

    @property
    def gain(self) -> float:
        """By how much the ELBO of each data point grows with the new prior, in nats."""
        return self.marginal_kl_before.value - self.marginal_kl_after.value

    def __str__(self) -> str:
        return (
            f"marginal KL {self.marginal_kl_before} before, {self.marginal_kl_after} after: "
            f"the ELBO gains {self.gain:z.3f} nats"
        )


def prior_fit_of(
    fit: FitResult, aggregate: Floats, before: Floats, after: Floats
) -> PriorFitResult:
    """A fit with the marginal KLs before and after.

    Args:
        fit: what `fit_density` found.
        aggregate: ``log q(z)`` of draws of q(z), (num_samples, n).
        before: ``log p(z)`` of the prior before.
        after: of the fitted flow.
    """
    plain = {field.name: getattr(fit, field.name) for field in fields(FitResult)}
    return PriorFitResult(
        **plain,
        marginal_kl_before=mean_over_rows(aggregate - before),
        marginal_kl_after=mean_over_rows(aggregate - after),
    )
