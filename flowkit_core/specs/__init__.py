"""Specs: what a flow is, as frozen, validated data."""

from flowkit_core.specs.autoregressive import (
    INVERSES,
    AutoregressiveSpec,
    InverseAutoregressiveSpec,
    MaskedAutoregressiveSpec,
)
from flowkit_core.specs.base import ArraySpec, FlowSpec, Spec
from flowkit_core.specs.compose import ComposeSpec
from flowkit_core.specs.conditioners import ACTIVATIONS, ConditionerSpec, MADESpec, MLPSpec
from flowkit_core.specs.conv_net import ConvNetSpec
from flowkit_core.specs.coupling import CouplingSpec
from flowkit_core.specs.image_coupling import ImageCouplingSpec
from flowkit_core.specs.image_layers import (
    Conv1x1Spec,
    FlattenedSpec,
    OnChannelsSpec,
    PerPixelSpec,
    SqueezedSpec,
)
from flowkit_core.specs.image_masks import ChannelMask, CheckerboardMask, ImageMaskSpec
from flowkit_core.specs.laws import LAWS, AdditiveLaw, AffineLaw, LawSpec, SplineLaw
from flowkit_core.specs.linear import (
    AffineSpec,
    DiagonalAffineSpec,
    HouseholderLinearSpec,
    LowRankLinearSpec,
    LULinearSpec,
    PermutationSpec,
    QRLinearSpec,
    TriangularAffineSpec,
)
from flowkit_core.specs.logit import LogitSpec
from flowkit_core.specs.normalisation import ActNormSpec, BatchNormSpec
from flowkit_core.specs.residual import (
    ChosenColumns,
    ColumnsSpec,
    HouseholderColumns,
    OrthogonalColumns,
    PlanarSpec,
    SylvesterSpec,
)

__all__ = [
    "ACTIVATIONS",
    "INVERSES",
    "LAWS",
    "ActNormSpec",
    "AdditiveLaw",
    "AffineLaw",
    "AffineSpec",
    "ArraySpec",
    "AutoregressiveSpec",
    "BatchNormSpec",
    "ChannelMask",
    "CheckerboardMask",
    "ChosenColumns",
    "ColumnsSpec",
    "ComposeSpec",
    "ConditionerSpec",
    "Conv1x1Spec",
    "ConvNetSpec",
    "CouplingSpec",
    "DiagonalAffineSpec",
    "FlattenedSpec",
    "FlowSpec",
    "HouseholderColumns",
    "HouseholderLinearSpec",
    "ImageCouplingSpec",
    "ImageMaskSpec",
    "InverseAutoregressiveSpec",
    "LULinearSpec",
    "LawSpec",
    "LogitSpec",
    "LowRankLinearSpec",
    "MADESpec",
    "MLPSpec",
    "MaskedAutoregressiveSpec",
    "OnChannelsSpec",
    "OrthogonalColumns",
    "PerPixelSpec",
    "PermutationSpec",
    "PlanarSpec",
    "QRLinearSpec",
    "Spec",
    "SplineLaw",
    "SqueezedSpec",
    "SylvesterSpec",
    "TriangularAffineSpec",
]
