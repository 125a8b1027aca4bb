"""Recipes: the named flows, as specs. Each wing offers the same names and compiles the result.

Direction (base to data): ``flow(z)`` samples, ``flow.inv(x)`` scores.
"""

from flowkit_core.recipes.autoregressive import iaf, maf
from flowkit_core.recipes.composition import compose
from flowkit_core.recipes.coupling import nice, realnvp
from flowkit_core.recipes.image import glow, realnvp_image
from flowkit_core.recipes.linear import (
    diagonal_linear,
    householder_linear,
    low_rank_linear,
    lu_linear,
    permute,
    qr_linear,
    triangular_linear,
)
from flowkit_core.recipes.logit import logit
from flowkit_core.recipes.normalisation import act_norm, batch_norm
from flowkit_core.recipes.residual import planar, sylvester

__all__ = [
    "act_norm",
    "batch_norm",
    "compose",
    "diagonal_linear",
    "glow",
    "householder_linear",
    "iaf",
    "logit",
    "low_rank_linear",
    "lu_linear",
    "maf",
    "nice",
    "permute",
    "planar",
    "qr_linear",
    "realnvp",
    "realnvp_image",
    "sylvester",
    "triangular_linear",
]
