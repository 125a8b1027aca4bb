"""ELBO surgery: the terms of an ELBO, from the log-densities of draws."""

from flowkit_core.surgery.batches import (
    batches_of,
    check_latents,
    check_plate,
    data_axis,
)
from flowkit_core.surgery.checks import (
    check_draws,
    check_factorises,
    check_log_likelihood,
    check_points,
    check_posterior_shapes,
    check_prior,
    check_prior_shapes,
    posterior_parts,
)
from flowkit_core.surgery.estimate import (
    Bounds,
    Estimate,
    mean_over_neighbours,
    mean_over_rows,
)
from flowkit_core.surgery.latents import (
    LatentSurgery,
    latent_surgery_of_terms,
    log_mean_weights,
)
from flowkit_core.surgery.prior_fit import PriorFitResult, prior_fit_of
from flowkit_core.surgery.result import ElboSurgery, compare
from flowkit_core.surgery.settings import SurgerySettings
from flowkit_core.surgery.terms import (
    bounds_of_terms,
    stratified,
    surgery_of_terms,
    uniform_with_own,
)
from flowkit_core.surgery.tiles import (
    LOWEST,
    MEMORY_LIMIT,
    NEGLIGIBLE,
    check_memory_limit,
    consecutive,
    rows_per_tile,
    slices,
    tile_shape,
)

__all__ = [
    "LOWEST",
    "MEMORY_LIMIT",
    "NEGLIGIBLE",
    "Bounds",
    "ElboSurgery",
    "Estimate",
    "LatentSurgery",
    "PriorFitResult",
    "SurgerySettings",
    "batches_of",
    "bounds_of_terms",
    "check_draws",
    "check_factorises",
    "check_latents",
    "check_log_likelihood",
    "check_memory_limit",
    "check_plate",
    "check_points",
    "check_posterior_shapes",
    "check_prior",
    "check_prior_shapes",
    "compare",
    "consecutive",
    "data_axis",
    "latent_surgery_of_terms",
    "log_mean_weights",
    "mean_over_neighbours",
    "mean_over_rows",
    "posterior_parts",
    "prior_fit_of",
    "rows_per_tile",
    "slices",
    "stratified",
    "surgery_of_terms",
    "tile_shape",
    "uniform_with_own",
]
