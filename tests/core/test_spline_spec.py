"""The spline's spec: what it counts, what it keeps through JSON, what it refuses."""

import math

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.numerics import MIN_BIN_WIDTH, SPLINE_BOUND, spline_soft_bound
from flowkit_core.specs import AffineLaw, FlowSpec, LawSpec, SplineLaw

LAW = {"kind": "spline", "num_bins": 8, "bound": 4.0, "soft_bound": 1.5}


@pytest.mark.parametrize("num_bins", [2, 3, 8, 32])
def test_parameters_are_widths_heights_and_inner_slopes(num_bins):
    law = SplineLaw(num_bins)
    assert (law.num_conditioned, law.num_free) == (num_bins + num_bins + (num_bins - 1), 2)


def test_it_survives_json():
    law = SplineLaw(num_bins=5, bound=2.5, soft_bound=1.25)
    text = '{"kind":"spline","num_bins":5,"bound":2.5,"soft_bound":1.25}'
    assert law.to_json() == text
    assert LawSpec.from_json(text) == law
    assert hash(LawSpec.from_json(text)) == hash(law)
    assert SplineLaw().to_dict() == LAW
    numbers = SplineLaw(np.int64(5), np.float32(2.5), np.float64(1.25))
    assert numbers.to_json() == text


REFUSED = {
    "one bin": ({"num_bins": 1}, ValueError, "num_bins: expected an integer >= 2, got 1"),
    "no bin": ({"num_bins": 0}, ValueError, "num_bins: .* >= 2, got 0"),
    "half a bin": ({"num_bins": 2.5}, TypeError, r"num_bins: expected an integer, got 2\.5"),
    "bins True": ({"num_bins": True}, TypeError, "num_bins: expected an integer, got True"),
    "bins text": ({"num_bins": "8"}, TypeError, "num_bins: expected an integer, got '8'"),
    "bins null": ({"num_bins": None}, TypeError, "num_bins: expected an integer, got None"),
    "too many bins": ({"num_bins": 10**400}, ValueError, "soft_bound: .* need at most -"),
    "no box": ({"bound": 0.0}, ValueError, "bound: expected a finite number > 0, got 0"),
    "box nan": ({"bound": math.nan}, ValueError, "bound: .* > 0, got nan"),
    "box infinite": ({"bound": math.inf}, ValueError, "bound: .* > 0, got inf"),
    "box text": ({"bound": "4"}, TypeError, "bound: expected a number, got '4'"),
    "soft bound negative": ({"soft_bound": -1.0}, ValueError, "soft_bound: .* > 0, got -1"),
    "soft bound True": ({"soft_bound": True}, TypeError, "soft_bound: .* number, got True"),
    "bins of no width": (
        {"soft_bound": 6.0}, ValueError, r"soft_bound: 8 bins .* need at most 5\.063, got 6\.0"
    ),
    "soft bound huge": ({"soft_bound": 10**400}, ValueError, "soft_bound: .* finite number"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_nonsense_is_refused_in_words_by_hand_and_from_a_dict(case):
    changes, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        SplineLaw(**changes)
    with pytest.raises(error, match=message):
        LawSpec.from_dict({**LAW, **changes})


def test_unknown_fields_are_refused():
    with pytest.raises(ValueError, match=r"expected the fields .*'soft_bound'.*got .*'tail'"):
        LawSpec.from_dict({**LAW, "tail": "linear"})


@pytest.mark.parametrize("num_bins", [2, 8, 1000])
def test_the_largest_soft_bound_leaves_bins_of_the_smallest_width(num_bins):
    largest = 0.5 * math.log(1 / (MIN_BIN_WIDTH * num_bins))
    law = SplineLaw(num_bins, soft_bound=largest * (1 - 1e-12))
    raw = law.soft_bound * np.array([-1.0] + [1.0] * (num_bins - 1))
    narrowest = np.exp(raw[0]) / np.exp(raw).sum()
    assert MIN_BIN_WIDTH < narrowest < 2.1 * MIN_BIN_WIDTH
    with pytest.raises(ValueError, match="soft_bound"):
        SplineLaw(num_bins, soft_bound=largest * (1 + 1e-12))


@pytest.mark.parametrize("recipe", [r.maf, r.iaf, r.realnvp], ids=lambda f: f.__name__)
@pytest.mark.parametrize("num_layers", [1, 8, 9, 32])
def test_recipes_know_it_by_name_and_bound_it_by_depth(recipe, num_layers):
    spec = recipe(3, num_layers=num_layers, hidden_dims=(4,), law="spline")
    expected = SplineLaw(8, SPLINE_BOUND, spline_soft_bound(num_layers))
    assert {layer.law for layer in spec.layers} == {expected}
    assert FlowSpec.from_json(spec.to_json()) == spec
    assert "law=spline" in str(spec)


def test_numbers_of_parameters_are_those_counted_by_hand():
    # 3 -> 4 -> 23 * 3 and two free numbers per coordinate.
    assert r.maf(3, num_layers=1, hidden_dims=(4,), law="spline").num_parameters == 16 + 345 + 6
    # 2 -> 4 -> 23 * 1, two free; then 1 -> 4 -> 23 * 2, four free.
    couplings = r.realnvp(3, num_layers=2, hidden_dims=(4,), law="spline")
    assert couplings.num_parameters == (12 + 115 + 2) + (8 + 230 + 4)


def test_a_network_of_another_number_of_outputs_is_refused():
    layer = r.maf(3, num_layers=1, hidden_dims=(4,), law="spline").layers[0]
    for law, needed in ((AffineLaw(), "'affine' needs 2"), (SplineLaw(7), "'spline' needs 20")):
        with pytest.raises(ValueError, match=f"{needed} parameters .*num_params=23"):
            type(layer)(layer.conditioner, law, layer.order)
