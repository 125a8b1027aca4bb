"""Flow guides for SVI."""

from pyro_flowkit.guides.auto_flow import AutoFlow
from pyro_flowkit.guides.diagnose import diagnose, importance_resample
from pyro_flowkit.guides.importance_weighted_elbo import ImportanceWeightedELBO
from pyro_flowkit.guides.named import AutoIAF, AutoMAF, AutoRealNVP

__all__ = [
    "AutoFlow",
    "AutoIAF",
    "AutoMAF",
    "AutoRealNVP",
    "ImportanceWeightedELBO",
    "diagnose",
    "importance_resample",
]
