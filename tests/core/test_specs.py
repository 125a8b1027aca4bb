"""Specs: values that round-trip, compare, hash, pickle, print, and refuse nonsense in words."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.specs import (
    AffineLaw,
    ArraySpec,
    ConditionerSpec,
    FlowSpec,
    LawSpec,
    LULinearSpec,
    PermutationSpec,
)
from tests.cases import CASES

every_case = pytest.mark.parametrize("case", sorted(CASES))


def plain(value):
    """Whether a value consists of nothing but JSON's own types."""
    if type(value) is dict:
        return all(type(k) is str and plain(v) for k, v in value.items())
    if type(value) is list:
        return all(map(plain, value))
    return type(value) in (str, int, float, bool)


@every_case
def test_a_spec_survives_json_and_dict(case):
    spec = CASES[case]
    assert plain(spec.to_dict())
    for twin in (
        FlowSpec.from_json(spec.to_json()),
        FlowSpec.from_dict(spec.to_dict()),
        type(spec).from_dict(json.loads(json.dumps(spec.to_dict()))),
    ):
        assert twin == spec
        assert twin is not spec
        assert type(twin) is type(spec)
        assert hash(twin) == hash(spec)
        assert twin.to_json() == spec.to_json()
        assert twin.arrays() == spec.arrays()
        assert str(twin) == str(spec)


@every_case
def test_a_spec_pickles_with_what_it_has_cached(case):
    spec = CASES[case]
    spec.arrays()
    twin = pickle.loads(pickle.dumps(spec))
    assert twin == spec
    assert hash(twin) == hash(spec)


@every_case
def test_a_spec_is_one_line_of_json_that_begins_with_its_kind(case):
    text = CASES[case].to_json()
    assert text.startswith(f'{{"kind":"{CASES[case].kind}"')
    assert "\n" not in text


@every_case
def test_a_spec_is_frozen(case):
    spec = CASES[case]
    for field in dataclasses.fields(spec):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, None)


def test_no_two_cases_are_equal():
    assert len(set(CASES.values())) == len(CASES)


@every_case
def test_array_names_are_unique_and_sizes_add_up(case):
    arrays = CASES[case].arrays()
    assert len({a.name for a in arrays}) == len(arrays)
    assert CASES[case].num_parameters == sum(int(np.prod(a.shape)) for a in arrays)


def test_an_array_without_axes_is_one_number():
    assert ArraySpec("a", ()).size == 1
    assert ArraySpec("a", (3, 0)).size == 0


PRINTED = {
    "maf_one_dim": (
        "Compose(\n"
        "  MaskedAutoregressive(input_dim=1, hidden_dims=(6,), law=affine, order=natural)\n"
        "  MaskedAutoregressive(input_dim=1, hidden_dims=(6,), law=affine, order=natural)\n"
        ")"
    ),
    "iaf_context": (
        "Compose(\n"
        "  InverseAutoregressive(input_dim=3, hidden_dims=(9,), law=affine, order=natural, "
        "residual, context_dim=2)\n"
        "  InverseAutoregressive(input_dim=3, hidden_dims=(9,), law=affine, order=reverse, "
        "residual, context_dim=2)\n"
        ")"
    ),
    "coupling_linear": "Coupling(input_dim=4, hidden_dims=(), law=affine, mask=0110)",
    "lu_linear": "LULinear(input_dim=6)",
    "qr_linear_one_dim": "QRLinear(input_dim=1)",
    "permutation": "Permutation(input_dim=5, order=(2, 4, 0, 3, 1))",
    "diagonal_affine": "DiagonalAffine(input_dim=4)",
    "low_rank_and_householder": (
        "Compose(\n"
        "  LowRankLinear(input_dim=5, rank=2)\n"
        "  HouseholderLinear(input_dim=5, num_reflections=4)\n"
        ")"
    ),
    "act_norm_and_batch_norm": (
        "Compose(\n  ActNorm(input_dim=4, started=True)\n  BatchNorm(input_dim=4)\n)"
    ),
    "logit": "Compose(\n  DiagonalAffine(input_dim=3)\n  Logit(input_dim=3, alpha=0.45)\n)",
    "planar": "Compose(\n  Planar(input_dim=4, activation=tanh)\n)",
    "sylvester_triangular": (
        "Compose(\n"
        "  Sylvester(input_dim=4, rank=2, columns=coordinates(0, 1), activation=tanh)\n"
        "  Sylvester(input_dim=4, rank=2, columns=coordinates(2, 1), activation=tanh)\n"
        ")"
    ),
    "planar_context": (
        "Compose(\n"
        "  Planar(input_dim=3, activation=leaky_relu, hidden_dims=(6,), context_dim=2)\n"
        "  Planar(input_dim=3, activation=leaky_relu, hidden_dims=(6,), context_dim=2)\n"
        ")"
    ),
    "sylvester_householder": (
        "Compose(\n"
        "  Sylvester(input_dim=4, rank=4, columns=householder(2), activation=leaky_relu)\n"
        ")"
    ),
}


@pytest.mark.parametrize("case", PRINTED)
def test_a_spec_prints_readably(case):
    assert str(CASES[case]) == PRINTED[case]


def test_long_orders_and_masks_are_shortened():
    order = (1, 0, *range(2, 20))
    assert str(PermutationSpec(order)) == "Permutation(input_dim=20, order=(1, 0, 2, 3, 4, 5, ...))"
    long = r.realnvp(
        20, num_layers=1, hidden_dims=(4,), context_dim=3, volume_preserving=True
    ).layers[0]
    assert str(long) == (
        "Coupling(input_dim=20, hidden_dims=(4,), law=affine, mask=1010101010101010..., "
        "volume_preserving, context_dim=3)"
    )


def test_numpy_numbers_become_plain_ones():
    spec = r.compose(
        r.maf(np.int64(3), num_layers=1, hidden_dims=np.array([4, 4]), context_dim=np.int32(2)),
        r.permute(np.int64(3), order=np.array([2, 0, 1])),
        r.realnvp(3, num_layers=1, hidden_dims=(np.int64(4),), mask=np.array([True, False, True])),
        LULinearSpec(np.int16(3)),
    )
    assert plain(spec.to_dict())
    assert FlowSpec.from_json(spec.to_json()) == spec
    assert AffineLaw(bound=np.float32(1.5)).to_json() == '{"kind":"affine","bound":1.5}'


def test_abstract_specs_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        FlowSpec()
    with pytest.raises(NotImplementedError):
        ConditionerSpec((), "relu", 0).layer_sizes()


def test_two_kinds_of_one_name_are_refused():
    with pytest.raises(ValueError, match="kind 'affine' is taken by AffineLaw"):

        class Other(LawSpec, kind="affine"):
            pass


def starts(spec):
    return {a.name.removeprefix("conditioner."): a.fan_in for a in spec.arrays()}


def test_arrays_start_at_zero_or_from_the_number_of_inputs_that_are_seen():
    # Degrees of 4 units for D = 3: 1, 1, 2, 2. They see 1, 1, 2, 2 of 3 inputs (6 / 4, to even: 2),
    # then 2, 2, 4, 4 of 4 units (3 on average).
    deep = r.maf(3, num_layers=1, hidden_dims=(4, 4)).layers[0]
    assert starts(deep) == {
        "weight_0": 2, "bias_0": 2, "weight_1": 3, "bias_1": 3, "weight_2": 0, "bias_2": 0,
        "free": 0,
    }  # fmt: skip
    given = r.realnvp(5, num_layers=1, hidden_dims=(7,), context_dim=2).layers[0]
    assert starts(given) == {
        "weight_0": 3, "bias_0": 3, "weight_1": 0, "bias_1": 0, "context_weight": 2, "free": 0
    }  # fmt: skip
    # Without hidden layers the context enters the last layer, and nothing is seen where D = 1.
    linear = r.maf(1, num_layers=1, hidden_dims=(), context_dim=2).layers[0]
    assert set(starts(linear).values()) == {0}
    alone = r.realnvp(1, num_layers=1, hidden_dims=(4,)).layers[0]
    assert starts(alone)["weight_0"] == 1
