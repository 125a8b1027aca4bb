"""Flow guides for SVI."""

from numpyro_flowkit.guides.amortised_flow import AutoAmortisedFlow
from numpyro_flowkit.guides.auto_flow import AutoFlow
from numpyro_flowkit.guides.diagnose import diagnose, importance_resample
from numpyro_flowkit.guides.fit_guide import fit_guide
from numpyro_flowkit.guides.importance_weighted_elbo import ImportanceWeightedELBO
from numpyro_flowkit.guides.named import AutoIAF, AutoMAF, AutoRealNVP
from numpyro_flowkit.guides.warm_start import warm_start

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
