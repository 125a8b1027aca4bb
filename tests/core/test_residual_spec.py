"""Planar and Sylvester specs: what is refused, and which coordinates triangular layers take."""

from itertools import pairwise

import pytest

from flowkit_core import recipes as r
from flowkit_core.specs import (
    ChosenColumns,
    FlowSpec,
    HouseholderColumns,
    OrthogonalColumns,
    PlanarSpec,
    SylvesterSpec,
)

REFUSED = {
    "rank": (
        lambda: r.sylvester(3, num_layers=1, rank=4),
        ValueError,
        "rank: expected at most input_dim = 3, .* orthonormal columns .*, got 4",
    ),
    "no rank": (lambda: r.sylvester(3, num_layers=1, rank=0), ValueError, "rank: .* got 0"),
    "rank True": (lambda: r.sylvester(3, num_layers=1, rank=True), TypeError, "rank: .* got True"),
    "rank of the triangular kind": (
        lambda: r.sylvester(3, num_layers=2, rank=7, kind="triangular"),
        ValueError,
        "rank: expected at most input_dim = 3",
    ),
    "kind": (
        lambda: r.sylvester(3, num_layers=1, rank=1, kind="upper"),
        ValueError,
        "kind: expected one of 'orthogonal', 'householder', 'triangular', got 'upper'",
    ),
    "reflections": (
        lambda: r.sylvester(3, num_layers=1, rank=1, num_reflections=0),
        ValueError,
        "num_reflections: .* >= 1, got 0",
    ),
    "no layers": (lambda: r.planar(3, num_layers=0), ValueError, "num_layers: .* >= 1, got 0"),
    "no dimension": (lambda: r.planar(0, num_layers=1), ValueError, "input_dim: .* got 0"),
    "seed": (lambda: r.planar(3, num_layers=1, seed=-1), ValueError, "seed: .* >= 0, got -1"),
    "activation": (
        lambda: r.planar(3, num_layers=1, activation="relu"),
        ValueError,
        "activation: expected one of 'tanh', 'leaky_relu', got 'relu'",
    ),
    "budget": (
        lambda: r.planar(3, num_layers=1, max_iterations=0),
        ValueError,
        "max_iterations: .* >= 1, got 0",
    ),
    "context": (
        lambda: r.planar(3, num_layers=1, context_dim=-1),
        ValueError,
        "context_dim: .* >= 0, got -1",
    ),
    "a network without a context": (
        lambda: PlanarSpec(3, hidden_dims=(4,)),
        ValueError,
        r"hidden_dims: expected \(\) without a context, got \(4,\)",
    ),
    "columns": (lambda: SylvesterSpec(3, 1, "orthogonal"), TypeError, "columns: .* ColumnsSpec"),
    "a coordinate twice": (lambda: ChosenColumns((1, 1)), ValueError, "no index twice"),
    "a coordinate too many": (
        lambda: SylvesterSpec(3, 1, ChosenColumns((0, 1))),
        ValueError,
        r"coordinates: expected 1 of 0 \.\. 2, got \(0, 1\)",
    ),
    "a coordinate out of range": (
        lambda: SylvesterSpec(3, 1, ChosenColumns((3,))),
        ValueError,
        r"coordinates: expected 1 of 0 \.\. 2, got \(3,\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arguments_out_of_range_are_refused(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        call()


def test_triangular_layers_of_full_rank_take_the_coordinates_forwards_and_backwards():
    layers = r.sylvester(3, num_layers=3, rank=3, kind="triangular").layers
    orders = [layer.columns.coordinates for layer in layers]
    assert orders == [(0, 1, 2), (2, 1, 0), (0, 1, 2)]


def test_triangular_layers_of_lower_rank_overlap_and_reach_all_coordinates():
    layers = r.sylvester(5, num_layers=5, rank=3, kind="triangular").layers
    taken = [set(layer.columns.coordinates) for layer in layers]
    assert all(one & two for one, two in pairwise(taken))
    assert set.union(*taken) == set(range(5))


def test_only_what_keeps_the_identity_starts_at_zero():
    zero = {
        name
        for spec in (r.planar(3, num_layers=1), r.sylvester(3, num_layers=1, rank=2))
        for name in (a.name for a in spec.arrays() if a.fan_in == 0)
    }
    assert zero == {"layers.0.direction", "layers.0.outer"}


@pytest.mark.parametrize(
    "columns", [OrthogonalColumns(), HouseholderColumns(2), ChosenColumns((1, 0))]
)
def test_columns_survive_json(columns):
    spec = SylvesterSpec(3, 2, columns, "leaky_relu", 7)
    assert FlowSpec.from_json(spec.to_json()) == spec
