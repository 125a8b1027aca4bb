"""ELBO surgery: the aggregated posterior, and what it makes of the ELBO's terms."""

from flowkit_core.surgery import Bounds, ElboSurgery, Estimate, LatentSurgery, PriorFitResult
from numpyro_flowkit.surgery.aggregate import aggregate_log_prob
from numpyro_flowkit.surgery.aggregated_posterior import AggregatedPosterior, aggregated_posterior
from numpyro_flowkit.surgery.elbo_surgery import elbo_surgery, marginal_kl, mutual_information
from numpyro_flowkit.surgery.elbo_surgery_of import elbo_surgery_of
from numpyro_flowkit.surgery.fit_prior import fit_prior
from numpyro_flowkit.surgery.importance_log_likelihood_of import importance_log_likelihood_of
from numpyro_flowkit.surgery.latent_surgery import latent_surgery

__all__ = [
    "AggregatedPosterior",
    "Bounds",
    "ElboSurgery",
    "Estimate",
    "LatentSurgery",
    "PriorFitResult",
    "aggregate_log_prob",
    "aggregated_posterior",
    "elbo_surgery",
    "elbo_surgery_of",
    "fit_prior",
    "importance_log_likelihood_of",
    "latent_surgery",
    "marginal_kl",
    "mutual_information",
]
