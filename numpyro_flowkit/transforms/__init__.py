"""Transforms: one per file, all of them native NumPyro transforms with weights as leaves."""

from numpyro_flowkit.transforms.act_norm import ActNorm
from numpyro_flowkit.transforms.autoregressive import (
    Autoregressive,
    InverseAutoregressive,
    MaskedAutoregressive,
)
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.batch_norm import BatchNorm
from numpyro_flowkit.transforms.compose import Compose
from numpyro_flowkit.transforms.conditioned import ConditionedFlow
from numpyro_flowkit.transforms.conv1x1 import Conv1x1
from numpyro_flowkit.transforms.coupling import Coupling
from numpyro_flowkit.transforms.diagonal_affine import DiagonalAffine
from numpyro_flowkit.transforms.flattened import Flattened
from numpyro_flowkit.transforms.householder_linear import HouseholderLinear
from numpyro_flowkit.transforms.image_coupling import ImageCoupling
from numpyro_flowkit.transforms.logit import Logit
from numpyro_flowkit.transforms.low_rank_linear import LowRankLinear
from numpyro_flowkit.transforms.lu_linear import LULinear
from numpyro_flowkit.transforms.on_channels import OnChannels
from numpyro_flowkit.transforms.per_pixel import PerPixel
from numpyro_flowkit.transforms.permutation import Permutation
from numpyro_flowkit.transforms.planar import Planar
from numpyro_flowkit.transforms.qr_linear import QRLinear
from numpyro_flowkit.transforms.squeezed import Squeezed
from numpyro_flowkit.transforms.sylvester import Sylvester
from numpyro_flowkit.transforms.triangular_affine import TriangularAffine

__all__ = [
    "ActNorm",
    "Autoregressive",
    "BatchNorm",
    "Compose",
    "ConditionedFlow",
    "Conv1x1",
    "Coupling",
    "DiagonalAffine",
    "Flattened",
    "Flow",
    "HouseholderLinear",
    "ImageCoupling",
    "InverseAutoregressive",
    "LULinear",
    "Logit",
    "LowRankLinear",
    "MaskedAutoregressive",
    "OnChannels",
    "PerPixel",
    "Permutation",
    "Planar",
    "QRLinear",
    "Squeezed",
    "Sylvester",
    "TriangularAffine",
]
