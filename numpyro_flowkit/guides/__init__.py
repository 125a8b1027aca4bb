"""Flow guides for SVI."""

from numpyro_flowkit.guides.auto_flow import AutoFlow
from numpyro_flowkit.guides.diagnose import diagnose, importance_resample
from numpyro_flowkit.guides.importance_weighted_elbo import ImportanceWeightedELBO
from numpyro_flowkit.guides.named import AutoIAF, AutoMAF, AutoRealNVP

__all__ = [
    "AutoFlow",
    "AutoIAF",
    "AutoMAF",
    "AutoRealNVP",
    "ImportanceWeightedELBO",
    "diagnose",
    "importance_resample",
]
