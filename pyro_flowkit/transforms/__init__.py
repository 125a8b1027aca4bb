"""Transforms: the flows' layers as Pyro ``TransformModule``s."""

from pyro_flowkit.transforms.autoregressive import (
    Autoregressive,
    InverseAutoregressive,
    MaskedAutoregressive,
)
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.compose import Compose
from pyro_flowkit.transforms.conditioned import ConditionedFlow
from pyro_flowkit.transforms.coupling import Coupling
from pyro_flowkit.transforms.diagonal_affine import DiagonalAffine
from pyro_flowkit.transforms.lu_linear import LULinear
from pyro_flowkit.transforms.permutation import Permutation
from pyro_flowkit.transforms.planar import Planar
from pyro_flowkit.transforms.qr_linear import QRLinear
from pyro_flowkit.transforms.sylvester import Sylvester
from pyro_flowkit.transforms.triangular_affine import TriangularAffine

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
