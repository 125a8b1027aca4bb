"""Transforms: one per file, all of them native NumPyro transforms with weights as leaves."""

from numpyro_flowkit.transforms.autoregressive import (
    Autoregressive,
    InverseAutoregressive,
    MaskedAutoregressive,
)
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.compose import Compose
from numpyro_flowkit.transforms.conditioned import ConditionedFlow
from numpyro_flowkit.transforms.coupling import Coupling
from numpyro_flowkit.transforms.diagonal_affine import DiagonalAffine
from numpyro_flowkit.transforms.lu_linear import LULinear
from numpyro_flowkit.transforms.permutation import Permutation
from numpyro_flowkit.transforms.planar import Planar
from numpyro_flowkit.transforms.qr_linear import QRLinear
from numpyro_flowkit.transforms.sylvester import Sylvester
from numpyro_flowkit.transforms.triangular_affine import TriangularAffine

__all__ = [
    "Autoregressive",
    "Compose",
    "ConditionedFlow",
    "Coupling",
    "DiagonalAffine",
    "Flow",
    "InverseAutoregressive",
    "LULinear",
    "MaskedAutoregressive",
    "Permutation",
    "Planar",
    "QRLinear",
    "Sylvester",
    "TriangularAffine",
]
