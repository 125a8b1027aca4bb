"""The table that drives both wings: adding a transform is one row.

Each row is a spec of the core; `arrays_for` gives it large random weights, since small ones hide
wrong Jacobians.
"""

import math

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.specs import (
    AdditiveLaw,
    AffineLaw,
    ChannelMask,
    CheckerboardMask,
    ComposeSpec,
    ConvNetSpec,
    CouplingSpec,
    DiagonalAffineSpec,
    FlowSpec,
    ImageCouplingSpec,
    MLPSpec,
    SplineLaw,
    TriangularAffineSpec,
)


def coupling(mask, *, hidden=(12, 9), context_dim=0, law=None, volume_preserving=False):
    """A single coupling layer with any mask."""
    law = AffineLaw(bound=1.5) if law is None else law
    net = MLPSpec(
        hidden_dims=hidden,
        activation="relu",
        context_dim=context_dim,
        num_inputs=sum(mask),
        num_outputs=law.num_conditioned * (len(mask) - sum(mask)),
    )
    return CouplingSpec(tuple(bool(m) for m in mask), net, law, volume_preserving)


def image_coupling(image_shape, mask, *, hidden=(5,), context_dim=0, law=None):
    """A single coupling of images with a plain network."""
    law = AffineLaw(bound=1.5) if law is None else law
    seen, moved = mask.channels(image_shape)
    net = ConvNetSpec(
        hidden_dims=hidden,
        activation="tanh",
        context_dim=context_dim,
        num_inputs=seen,
        num_outputs=law.num_conditioned * moved,
        residual=False,
        weight_norm=False,
    )
    return ImageCouplingSpec(image_shape, mask, net, law)


CASES: dict[str, FlowSpec] = {
    "maf": r.maf(5, num_layers=3, hidden_dims=(16, 12)),
    "maf_one_dim": r.maf(1, num_layers=2, hidden_dims=(6,)),
    "maf_two_dims": r.maf(2, num_layers=2, hidden_dims=(7,)),
    "maf_narrow": r.maf(8, num_layers=2, hidden_dims=(3, 5)),
    "maf_linear": r.maf(4, num_layers=2, hidden_dims=()),
    "maf_residual": r.maf(5, num_layers=2, hidden_dims=(14, 14), residual=True),
    "maf_random_order": r.maf(7, num_layers=2, hidden_dims=(20,), mixing="random", seed=3),
    "maf_lu": r.maf(4, num_layers=2, hidden_dims=(8,), mixing="lu", activation="tanh"),
    "maf_additive": r.maf(5, num_layers=2, hidden_dims=(8,), law="additive", activation="elu"),
    "maf_context": r.maf(4, num_layers=2, hidden_dims=(9, 8), context_dim=3, activation="silu"),
    "maf_context_one_dim": r.maf(1, num_layers=2, hidden_dims=(6,), context_dim=2),
    "maf_spline": r.maf(4, num_layers=2, hidden_dims=(12, 9), law="spline"),
    "maf_spline_one_dim": r.maf(1, num_layers=2, hidden_dims=(6,), law="spline"),
    "iaf": r.iaf(5, num_layers=3, hidden_dims=(16, 12)),
    "iaf_one_dim": r.iaf(1, num_layers=2, hidden_dims=(6,)),
    "iaf_residual": r.iaf(5, num_layers=2, hidden_dims=(7,), residual=True, activation="gelu"),
    "iaf_context": r.iaf(3, num_layers=2, hidden_dims=(9,), residual=True, context_dim=2),
    "iaf_linear_context": r.iaf(3, num_layers=2, hidden_dims=(), context_dim=2),
    "iaf_narrow_random": r.iaf(6, num_layers=2, hidden_dims=(4,), mixing="random", seed=5),
    "iaf_spline": r.iaf(4, num_layers=2, hidden_dims=(8, 8), residual=True, law="spline"),
    "iaf_spline_context": r.iaf(3, num_layers=1, hidden_dims=(7,), context_dim=2, law="spline"),
    "realnvp": r.realnvp(5, num_layers=3, hidden_dims=(12,)),
    "realnvp_half_random": r.realnvp(
        6, num_layers=4, hidden_dims=(10,), mask="half", mixing="random", activation="leaky_relu"
    ),
    "realnvp_lu": r.realnvp(3, num_layers=4, hidden_dims=(8,), mixing="lu"),
    "realnvp_one_dim": r.realnvp(1, num_layers=2, hidden_dims=(6,)),
    "realnvp_context": r.realnvp(5, num_layers=2, hidden_dims=(10,), context_dim=2),
    "realnvp_context_one_dim": r.realnvp(1, num_layers=2, hidden_dims=(6,), context_dim=2),
    "realnvp_spline": r.realnvp(4, num_layers=3, hidden_dims=(9,), law="spline"),
    "realnvp_spline_one_dim": r.realnvp(1, num_layers=1, hidden_dims=(6,), law="spline"),
    "realnvp_volume": r.realnvp(
        4, num_layers=2, hidden_dims=(9,), context_dim=2, volume_preserving=True
    ),
    "nice": r.nice(4, num_layers=4, hidden_dims=(8,), mixing="reverse"),
    "coupling_one_passes": coupling([0, 0, 1, 0, 0]),
    "coupling_all_false": coupling([0, 0, 0]),
    "coupling_additive": coupling([1, 1, 0, 1], law=AdditiveLaw()),
    "coupling_linear": coupling([0, 1, 1, 0], hidden=()),
    "coupling_spline": coupling([0, 1, 0, 0], context_dim=2, law=SplineLaw(num_bins=3, bound=2.5)),
    "lu_linear": r.lu_linear(6),
    "lu_linear_one_dim": r.lu_linear(1),
    "qr_linear": r.qr_linear(6),
    "qr_linear_one_dim": r.qr_linear(1),
    "permutation": r.permute(5, order=(2, 4, 0, 3, 1)),
    "diagonal_affine": DiagonalAffineSpec(4),
    "triangular_affine": TriangularAffineSpec(5),
    "triangular_affine_one_dim": TriangularAffineSpec(1),
    "low_rank_and_householder": r.compose(
        r.low_rank_linear(5, rank=2), r.householder_linear(5, num_reflections=4)
    ),
    "act_norm_and_batch_norm": r.compose(r.act_norm(4, started=True), r.batch_norm(4)),
    "logit": r.compose(r.diagonal_linear(3), r.logit(3, alpha=0.45)),
    "planar": r.planar(4, num_layers=1),
    "planar_context": r.planar(
        3, num_layers=2, activation="leaky_relu", context_dim=2, hidden_dims=(6,)
    ),
    "sylvester": r.sylvester(5, num_layers=1, rank=3),
    "sylvester_householder": r.sylvester(
        4, num_layers=1, rank=4, kind="householder", num_reflections=2, activation="leaky_relu"
    ),
    "sylvester_triangular": r.sylvester(4, num_layers=2, rank=2, kind="triangular"),
    "residual_one_dim": r.compose(
        r.planar(1, num_layers=1, context_dim=2, hidden_dims=(5,)),
        r.sylvester(1, num_layers=1, rank=1, activation="leaky_relu"),
    ),
    "compose": r.compose(
        r.qr_linear(4),
        r.maf(4, num_layers=1, hidden_dims=(6,), context_dim=2),
        r.permute(4, order=(3, 0, 1, 2)),
        r.realnvp(4, num_layers=2, hidden_dims=(6,)),
        r.iaf(4, num_layers=1, hidden_dims=(6,), context_dim=2),
    ),
}

# Flows of images, at sizes at which a Jacobian is soon found.
CASES |= {
    "image_checkerboard_odd": image_coupling((1, 3, 3), CheckerboardMask(flip=True)),
    "image_channels_context": image_coupling(
        (3, 2, 2), ChannelMask((False, True, False)), context_dim=2
    ),
    "image_channels_spline": image_coupling(
        (3, 2, 2), ChannelMask((True, True, False)), law=SplineLaw(num_bins=3, bound=2.5)
    ),
    "realnvp_image": r.realnvp_image(
        (2, 4, 6), num_scales=2, num_couplings=1, hidden_channels=3, activation="silu"
    ),
    "glow_context": r.glow(
        (1, 4, 4),
        num_scales=2,
        num_steps=1,
        hidden_channels=3,
        context_dim=2,
        started=True,
        activation="elu",
    ),
}

# Many convolutions, each of which takes XLA a while (the default tests do what
# tests/both/test_image_flows.py does, which is enough for what joins their layers), and further
# forms of layers of which others are among the default tests.
SLOW_CASES = {
    "coupling_linear", "coupling_spline", "glow_context", "iaf_linear_context",
    "iaf_narrow_random", "iaf_one_dim", "iaf_residual", "iaf_spline", "iaf_spline_context",
    "image_channels_spline", "lu_linear_one_dim", "maf_context_one_dim", "maf_linear", "maf_lu",
    "maf_spline_one_dim", "maf_two_dims", "qr_linear_one_dim", "realnvp_context_one_dim",
    "realnvp_half_random", "realnvp_image", "realnvp_spline_one_dim", "sylvester_householder",
    "sylvester_triangular",
}  # fmt: skip


def params(names):
    """Names of cases for ``pytest.mark.parametrize``, those of long compilations marked slow."""
    return [pytest.param(n, marks=pytest.mark.slow) if n in SLOW_CASES else n for n in names]


DIRECTIONS = ("forward_and_log_det", "inverse_and_log_det")


def directed(names):
    """Each name with each direction; the easier one of the two is slow.

    The harder is the sequential one, and else that from base to data. What the other gives is held
    against it by round trips.
    """
    found = []
    for name in names:
        harder = DIRECTIONS[CASES[name].sequential_inverse]
        for direction in DIRECTIONS:
            slow = name in SLOW_CASES or direction != harder
            found.append(pytest.param(name, direction, marks=pytest.mark.slow if slow else ()))
    return pytest.mark.parametrize(("case", "direction"), found)


CONTEXT_CASES = sorted(name for name, spec in CASES.items() if spec.context_dim)
SEQUENTIAL_CASES = sorted(
    name for name, s in CASES.items() if s.sequential_forward or s.sequential_inverse
)


def arrays_for(spec: FlowSpec, *, seed: int = 0, dtype=np.float64) -> dict[str, np.ndarray]:
    """Large random weights: every network output and log-scale is of order one."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for array in spec.arrays():
        fan_in = math.prod(array.shape[1:]) if len(array.shape) > 1 else 4
        arrays[array.name] = rng.normal(size=array.shape) * 1.4 / np.sqrt(max(fan_in, 1))
    return {name: values.astype(dtype) for name, values in arrays.items()}


def points_for(spec: FlowSpec, shape=(6,), *, seed: int = 1, dtype=np.float64):
    """Random points and a context of the same batch shape (None without context)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(*shape, *spec.event_shape)).astype(dtype)
    context = rng.normal(size=(*shape, spec.context_dim)).astype(dtype)
    return z, context if spec.context_dim else None


def batch_of(spec: FlowSpec, points) -> tuple[int, ...]:
    """The batch shape of points of a flow."""
    return points.shape[: -len(spec.event_shape)]


def layers_of(spec: FlowSpec) -> list[FlowSpec]:
    """The layers of a spec, compositions taken apart."""
    if isinstance(spec, ComposeSpec):
        return [leaf for layer in spec.layers for leaf in layers_of(layer)]
    return [spec]
