"""Priors that are learnt, called inside a model; they register their parameters with NumPyro."""

from numpyro_flowkit.priors.flow import flow_prior
from numpyro_flowkit.priors.free_bits import FreeBitsELBO
from numpyro_flowkit.priors.kl_weight import kl_weight
from numpyro_flowkit.priors.mixture import mixture_prior
from numpyro_flowkit.priors.vamp import vamp_prior

__all__ = ["FreeBitsELBO", "flow_prior", "kl_weight", "mixture_prior", "vamp_prior"]
