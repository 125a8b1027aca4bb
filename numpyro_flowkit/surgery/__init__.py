"""ELBO surgery: the aggregated posterior, and what it makes of the ELBO's terms."""

from flowkit_core.surgery import Bounds, ElboSurgery, Estimate, PriorFitResult
from numpyro_flowkit.surgery.aggregate import aggregate_log_prob
from numpyro_flowkit.surgery.aggregated_posterior import AggregatedPosterior, aggregated_posterior
from numpyro_flowkit.surgery.elbo_surgery import elbo_surgery, marginal_kl, mutual_information
from numpyro_flowkit.surgery.elbo_surgery_of import elbo_surgery_of
from numpyro_flowkit.surgery.fit_prior import fit_prior

__all__ = [
    "AggregatedPosterior",
    "Bounds",
    "ElboSurgery",
    "Estimate",
    "PriorFitResult",
    "aggregate_log_prob",
    "aggregated_posterior",
    "elbo_surgery",
    "elbo_surgery_of",
    "fit_prior",
    "marginal_kl",
    "mutual_information",
]
