"""ELBO surgery: the aggregated posterior, and what it makes of the ELBO's terms."""

from flowkit_core.surgery import Bounds, ElboSurgery, Estimate
from pyro_flowkit.surgery.aggregate import aggregate_log_prob
from pyro_flowkit.surgery.elbo_surgery import elbo_surgery, marginal_kl, mutual_information
from pyro_flowkit.surgery.elbo_surgery_of import elbo_surgery_of

__all__ = [
    "Bounds",
    "ElboSurgery",
    "Estimate",
    "aggregate_log_prob",
    "elbo_surgery",
    "elbo_surgery_of",
    "marginal_kl",
    "mutual_information",
]
