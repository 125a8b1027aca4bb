"""Properties of flows of any shape: round trip, log-determinant, and that both wings agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowkit_core import recipes as r
from flowkit_core.recipes.mixing import MIXINGS
from flowkit_core.specs import (
    ACTIVATIONS,
    AdditiveLaw,
    AffineLaw,
    ChosenColumns,
    HouseholderColumns,
    InverseAutoregressiveSpec,
    MADESpec,
    MaskedAutoregressiveSpec,
    OrthogonalColumns,
    PlanarSpec,
    SylvesterSpec,
)
from flowkit_core.specs.residual import RESIDUAL_ACTIVATIONS
from tests.cases import coupling, points_for
from tests.wings import WINGS

WING = WINGS["pyro"]
sixty = settings(max_examples=60, deadline=None, derandomize=True, database=None)
dims = st.integers(1, 9)
widths = st.integers(1, 12)
laws = st.sampled_from([AffineLaw(bound=1.2), AdditiveLaw()])
seeds = st.integers(0, 2**32 - 1)
# Smallest first: hypothesis shrinks towards weights that do little.
scales = st.floats(0.1, 3.0)


@st.composite
def made(draw, input_dim, law, context_dim):
    """A masked network of any shape."""
    residual = draw(st.booleans())
    if residual:
        hidden = (draw(widths),) * draw(st.integers(1, 2))
    else:
        hidden = tuple(draw(st.lists(widths, max_size=3)))
    return MADESpec(
        hidden_dims=hidden,
        activation=draw(st.sampled_from(ACTIVATIONS)),
        context_dim=context_dim,
        input_dim=input_dim,
        num_params=law.num_conditioned,
        residual=residual,
    )


@st.composite
def autoregressive(draw, layer):
    input_dim, law, context_dim = draw(dims), draw(laws), draw(st.integers(0, 2))
    order = tuple(draw(st.permutations(range(input_dim))))
    return layer(draw(made(input_dim, law, context_dim)), law, order)


@st.composite
def couplings(draw):
    mask = draw(st.lists(st.booleans(), min_size=1, max_size=9).filter(lambda m: not all(m)))
    hidden = tuple(draw(st.lists(widths, max_size=2)))
    return coupling(
        mask,
        hidden=hidden,
        context_dim=draw(st.integers(0, 2)),
        law=draw(laws),
        volume_preserving=draw(st.booleans()),
    )


@st.composite
def thin(draw):
    """A map of low rank and a product of reflections, of any size."""
    input_dim = draw(dims)
    return r.compose(
        r.low_rank_linear(input_dim, rank=draw(st.integers(1, input_dim))),
        r.householder_linear(input_dim, num_reflections=2 * draw(st.integers(1, 6))),
    )


@st.composite
def composed(draw):
    """A recipe of several layers between two linear maps."""
    input_dim = draw(dims)
    recipe = draw(st.sampled_from([r.maf, r.iaf, r.realnvp]))
    inner = recipe(
        input_dim,
        num_layers=draw(st.integers(1, 3)),
        hidden_dims=(draw(widths),),
        mixing=draw(st.sampled_from(MIXINGS)),
        seed=draw(seeds),
    )
    order = tuple(draw(st.permutations(range(input_dim))))
    return r.compose(r.permute(input_dim, order=order), r.qr_linear(input_dim), inner)


activations = st.sampled_from(RESIDUAL_ACTIVATIONS)


@st.composite
def planars(draw):
    context_dim = draw(st.integers(0, 2))
    hidden = tuple(draw(st.lists(widths, max_size=2))) if context_dim else ()
    return PlanarSpec(draw(dims), draw(activations), context_dim, hidden)


@st.composite
def sylvesters(draw):
    input_dim = draw(dims)
    rank = draw(st.integers(1, input_dim))
    chosen = tuple(draw(st.permutations(range(input_dim)))[:rank])
    reflections = HouseholderColumns(draw(st.integers(1, 4)))
    columns = draw(st.sampled_from([OrthogonalColumns(), reflections, ChosenColumns(chosen)]))
    return SylvesterSpec(input_dim, rank, columns, draw(activations))


FAMILIES = {
    "maf": autoregressive(MaskedAutoregressiveSpec),
    "iaf": autoregressive(InverseAutoregressiveSpec),
    "coupling": couplings(),
    "lu_linear": dims.map(r.lu_linear),
    "qr_linear": dims.map(r.qr_linear),
    "thin": thin(),
    "composed": composed(),
    "planar": planars(),
    "sylvester": sylvesters(),
}


def scaled_arrays(spec, scale, seed):
    """Weights of standard deviation ``scale / sqrt(inputs)``; triangles and biases of a third."""
    rng = np.random.default_rng(seed)
    return {
        a.name: rng.normal(size=a.shape)
        * (scale / np.sqrt(max(a.shape[-1], 1)) if "weight" in a.name else scale / 3)
        for a in spec.arrays()
    }


def magnified(wing, flow, x, context):
    """How far the inverse moves when the last digits of x change."""
    back, _ = wing.call(flow, "inverse_and_log_det", x, context)
    signs = np.random.default_rng(8).choice([-1, 1], size=(8, *x.shape))
    moved = [
        wing.call(flow, "inverse_and_log_det", x + 4e-16 * (1 + np.abs(x)) * s, context)[0]
        for s in signs
    ]
    return max(np.abs(m - back).max() for m in moved)


@pytest.mark.parametrize("family", FAMILIES)
def test_round_trip_and_log_determinant(family):
    @sixty
    @given(spec=FAMILIES[family], scale=scales, seed=seeds)
    def check(spec, scale, seed):
        flow = WING.build(spec, scaled_arrays(spec, scale, seed))
        z, context = points_for(spec, (3,), seed=seed % 1000)
        x, log_det = WING.call(flow, "forward_and_log_det", z, context)
        back, inverse_log_det = WING.call(flow, "inverse_and_log_det", x, context)
        assert np.isfinite(x).all()
        # 1e-12, or what rounding x costs in a map that magnifies it.
        allowed = 1e-12 + 20 * magnified(WING, flow, x, context)
        assert np.abs(back - z).max() <= allowed
        assert np.abs(log_det + inverse_log_det).max() <= 1e-11 + 100 * allowed
        for method, points, got in (
            ("forward_and_log_det", z, log_det),
            ("inverse_and_log_det", x, inverse_log_det),
        ):
            jacobians = WING.numpy(WING.jacobians_by_autodiff(flow, method, points, context))
            # Rounding the dense Jacobian's entries moves its log-determinant by eps * condition.
            rounding = 2.2e-16 * np.linalg.cond(jacobians)
            expected = np.linalg.slogdet(jacobians).logabsdet
            assert (np.abs(got - expected) <= 1e-8 * (1 + np.abs(expected)) + rounding).all()

    check()


# A handful of fixed draws in NumPyro, where every architecture is compiled anew.
DRAWS = {
    "maf": MaskedAutoregressiveSpec(
        MADESpec((3, 11), "silu", 2, 7, 2, False), AffineLaw(bound=1.2), (3, 0, 6, 1, 5, 2, 4)
    ),
    "iaf": InverseAutoregressiveSpec(
        MADESpec((5, 5), "elu", 0, 9, 1, True), AdditiveLaw(), (8, 2, 0, 1, 3, 7, 6, 5, 4)
    ),
    "coupling": coupling([0, 1, 1, 0, 0, 0, 1], hidden=(4, 11), context_dim=1),
    "composed": r.compose(
        r.permute(6, order=(5, 0, 2, 4, 1, 3)),
        r.qr_linear(6),
        r.iaf(6, num_layers=2, hidden_dims=(10,), mixing="lu"),
    ),
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_numpyro_gives_the_same_numbers(draw, scale):
    spec = DRAWS[draw]
    arrays = scaled_arrays(spec, scale, seed=1)
    z, context = points_for(spec, (4,))
    flows = {name: wing.build(spec, arrays) for name, wing in WINGS.items()}
    x, _ = WING.call(flows["pyro"], "forward_and_log_det", z, context)
    allowed = 1e-12 + 20 * magnified(WING, flows["pyro"], x, context)
    for method, points in (("forward_and_log_det", z), ("inverse_and_log_det", x)):
        one, two = (wing.call(flows[name], method, points, context) for name, wing in WINGS.items())
        for from_torch, from_jax in zip(one, two, strict=True):
            size = 1 + np.abs(from_torch).max()
            assert np.abs(from_torch - from_jax).max() <= size * max(1e-12, allowed)
