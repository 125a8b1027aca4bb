"""Transforms: the flows' layers as Pyro ``TransformModule``s."""

from pyro_flowkit.transforms.act_norm import ActNorm
from pyro_flowkit.transforms.autoregressive import (
    Autoregressive,
    InverseAutoregressive,
    MaskedAutoregressive,
)
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.batch_norm import BatchNorm
from pyro_flowkit.transforms.compose import Compose
from pyro_flowkit.transforms.conditioned import ConditionedFlow
from pyro_flowkit.transforms.conv1x1 import Conv1x1
from pyro_flowkit.transforms.coupling import Coupling
from pyro_flowkit.transforms.diagonal_affine import DiagonalAffine
from pyro_flowkit.transforms.flattened import Flattened
from pyro_flowkit.transforms.householder_linear import HouseholderLinear
from pyro_flowkit.transforms.image_coupling import ImageCoupling
from pyro_flowkit.transforms.logit import Logit
from pyro_flowkit.transforms.low_rank_linear import LowRankLinear
from pyro_flowkit.transforms.lu_linear import LULinear
from pyro_flowkit.transforms.on_channels import OnChannels
from pyro_flowkit.transforms.per_pixel import PerPixel
from pyro_flowkit.transforms.permutation import Permutation
from pyro_flowkit.transforms.planar import Planar
from pyro_flowkit.transforms.qr_linear import QRLinear
from pyro_flowkit.transforms.squeezed import Squeezed
from pyro_flowkit.transforms.sylvester import Sylvester
from pyro_flowkit.transforms.triangular_affine import TriangularAffine

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
