"""Flow guides for SVI."""

from pyro_flowkit.guides.amortised_flow import AutoAmortisedFlow
from pyro_flowkit.guides.auto_flow import AutoFlow
from pyro_flowkit.guides.diagnose import diagnose, importance_resample
from pyro_flowkit.guides.fit_guide import fit_guide
from pyro_flowkit.guides.importance_weighted_elbo import ImportanceWeightedELBO
from pyro_flowkit.guides.named import AutoIAF, AutoMAF, AutoRealNVP
from pyro_flowkit.guides.warm_start import warm_start

__all__ = [
    "AutoAmortisedFlow",
    "AutoFlow",
    "AutoIAF",
    "AutoMAF",
    "AutoRealNVP",
    "ImportanceWeightedELBO",
    "diagnose",
    "fit_guide",
    "importance_resample",
    "warm_start",
]
