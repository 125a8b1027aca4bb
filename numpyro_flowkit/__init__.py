"""The NumPyro wing of ppl-flowkit: normalizing flows as native NumPyro transforms."""

from flowkit_core.extras import require as _require

for _module in ("jax", "numpyro", "optax"):
    _require(_module, extra="numpyro", purpose="numpyro_flowkit")

from flowkit_core import CheckpointError, __version__
from flowkit_core.bits import bits_per_dim
from flowkit_core.diagnostics import GuideDiagnostics, to_arviz
from flowkit_core.reports import InverseNotConverged
from flowkit_core.warmup import kl_warmup
from numpyro_flowkit.bases import mixture_base, student_t_base
from numpyro_flowkit.build import FlowInit, build
from numpyro_flowkit.checkpoint import load_base, load_flow, save_flow
from numpyro_flowkit.density import fit_density
from numpyro_flowkit.dequantise import dequantise
from numpyro_flowkit.distributions import FlowDistribution
from numpyro_flowkit.guides import (
    AutoAmortisedFlow,
    AutoFlow,
    AutoIAF,
    AutoMAF,
    AutoRealNVP,
    ImportanceWeightedELBO,
    diagnose,
    fit_guide,
    importance_resample,
    warm_start,
)
from numpyro_flowkit.plots import density_with_samples, warped_grid
from numpyro_flowkit.priors import (
    FreeBitsELBO,
    flow_prior,
    kl_weight,
    mixture_prior,
    vamp_prior,
)
from numpyro_flowkit.recipes import (
    act_norm,
    batch_norm,
    compose,
    diagonal_linear,
    glow,
    householder_linear,
    iaf,
    logit,
    low_rank_linear,
    lu_linear,
    maf,
    nice,
    permute,
    planar,
    qr_linear,
    realnvp,
    realnvp_image,
    sylvester,
    triangular_linear,
)
from numpyro_flowkit.round_trip import round_trip
from numpyro_flowkit.statistics import (
    inverse_with_batch_statistics,
    set_batch_statistics,
    start_from_data,
)
from numpyro_flowkit.surgery import (
    AggregatedPosterior,
    Bounds,
    ElboSurgery,
    Estimate,
    LatentSurgery,
    PriorFitResult,
    aggregate_log_prob,
    aggregated_posterior,
    elbo_surgery,
    elbo_surgery_of,
    fit_prior,
    importance_log_likelihood_of,
    latent_surgery,
    marginal_kl,
    mutual_information,
)
from numpyro_flowkit.transforms import ConditionedFlow, Flow

__all__ = [
    "AggregatedPosterior",
    "AutoAmortisedFlow",
    "AutoFlow",
    "AutoIAF",
    "AutoMAF",
    "AutoRealNVP",
    "Bounds",
    "CheckpointError",
    "ConditionedFlow",
    "ElboSurgery",
    "Estimate",
    "Flow",
    "FlowDistribution",
    "FlowInit",
    "FreeBitsELBO",
    "GuideDiagnostics",
    "ImportanceWeightedELBO",
    "InverseNotConverged",
    "LatentSurgery",
    "PriorFitResult",
    "__version__",
    "act_norm",
    "aggregate_log_prob",
    "aggregated_posterior",
    "batch_norm",
    "bits_per_dim",
    "build",
    "compose",
    "density_with_samples",
    "dequantise",
    "diagnose",
    "diagonal_linear",
    "elbo_surgery",
    "elbo_surgery_of",
    "fit_density",
    "fit_guide",
    "fit_prior",
    "flow_prior",
    "glow",
    "householder_linear",
    "iaf",
    "importance_log_likelihood_of",
    "importance_resample",
    "inverse_with_batch_statistics",
    "kl_warmup",
    "kl_weight",
    "latent_surgery",
    "load_base",
    "load_flow",
    "logit",
    "low_rank_linear",
    "lu_linear",
    "maf",
    "marginal_kl",
    "mixture_base",
    "mixture_prior",
    "mutual_information",
    "nice",
    "permute",
    "planar",
    "qr_linear",
    "realnvp",
    "realnvp_image",
    "round_trip",
    "save_flow",
    "set_batch_statistics",
    "start_from_data",
    "student_t_base",
    "sylvester",
    "to_arviz",
    "triangular_linear",
    "vamp_prior",
    "warm_start",
    "warped_grid",
]
