"""Specs from text that nobody vouches for: ValueError or TypeError, in words, and nothing else."""

import copy
import pickle

import pytest

from flowkit_core.specs import (
    AffineLaw,
    ComposeSpec,
    CouplingSpec,
    FlowSpec,
    LawSpec,
    LULinearSpec,
    MADESpec,
    Spec,
)
from flowkit_core.specs.base import MAX_NESTING

LU = {"kind": "lu_linear", "input_dim": 2}

BAD_DICTS = {
    "no kind": ({"input_dim": 2}, ValueError, r"a kind among \[.*'additive', .*\], got None"),
    "unknown kind": ({"kind": "magic"}, ValueError, "a kind among .*, got 'magic'"),
    "kind a list": ({"kind": [1]}, ValueError, r"a kind among .*, got \[1\]"),
    "missing": ({"kind": "lu_linear"}, ValueError, r"the fields \['input_dim'\], got \[\]"),
    "unknown": ({**LU, "bias": 1}, ValueError, r"got \['bias', 'input_dim'\]"),
    "number for name": ({**LU, 1: 2}, ValueError, r"got \['1', 'input_dim'\]"),
    "other family": ({"kind": "affine", "bound": 1.0}, TypeError, "a FlowSpec, got AffineLaw"),
    "bool for int": ({**LU, "input_dim": True}, TypeError, "an integer, got True"),
    "float for int": ({**LU, "input_dim": 2.0}, TypeError, r"an integer, got 2\.0"),
    "null for int": ({**LU, "input_dim": None}, TypeError, "an integer, got None"),
    "dict for int": ({**LU, "input_dim": {}}, ValueError, "a kind among .*, got None"),
    "spec for int": ({**LU, "input_dim": LU}, TypeError, "an integer, got LULinearSpec"),
    "spec for list": ({"kind": "compose", "layers": LU}, TypeError, "a sequence, got LULinearSpec"),
    "number for list": ({"kind": "compose", "layers": 3}, TypeError, "a sequence, got 3"),
    "numbers for specs": ({"kind": "compose", "layers": [1]}, TypeError, "a FlowSpec, got int"),
    "bad inside": (
        {"kind": "compose", "layers": [LU, {"kind": "none"}]}, ValueError, "a kind .*, got 'none'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DICTS)
def test_a_dict_that_is_no_flow_is_refused_in_words(case):
    data, error, message = BAD_DICTS[case]
    before = copy.deepcopy(data)
    with pytest.raises(error, match=message):
        FlowSpec.from_dict(data)
    assert data == before


@pytest.mark.parametrize("data", [None, 3, "lu_linear", [LU]], ids=str)
def test_what_is_no_dict_is_refused(data):
    with pytest.raises(TypeError, match=f"spec: expected a Mapping, got {type(data).__name__}"):
        FlowSpec.from_dict(data)


BAD_TEXTS = {
    "empty": ("", ValueError, "spec: expected JSON, got ''"),
    "no json": ("LULinear(2)", ValueError, r"spec: expected JSON, got 'LULinear\(2\)'"),
    "cut short": ('{"kind":"lu_linear","inp', ValueError, "expected JSON, got"),
    "a list": ("[1, 2]", TypeError, "spec: expected a dict, got list"),
    "a number": ("3", TypeError, "spec: expected a dict, got int"),
    "null": ("null", TypeError, "spec: expected a dict, got NoneType"),
    "nan": ('{"kind":"affine","bound":NaN}', ValueError, "finite number > 0, got nan"),
    "infinity": ('{"kind":"affine","bound":Infinity}', ValueError, "finite number > 0, got inf"),
    "huge": (f'{{"kind":"affine","bound":{10**400}}}', ValueError, "finite number > 0"),
    "too many digits": (f'{{"kind":"lu_linear","input_dim":{"9" * 5000}}}', ValueError, "digits"),
    "no unicode": (b'{"kind":"\xff"}', ValueError, "utf-8"),
    "no text": (None, TypeError, "NoneType"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_text_that_is_no_spec_is_refused_in_words(case):
    text, error, message = BAD_TEXTS[case]
    with pytest.raises(error, match=message):
        Spec.from_json(text)


def test_long_texts_are_quoted_in_part():
    with pytest.raises(ValueError, match="expected JSON") as caught:
        FlowSpec.from_json("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_a_family_may_be_asked_for():
    law = AffineLaw(bound=0.5)
    assert LawSpec.from_dict(law.to_dict()) == law
    assert AffineLaw.from_json(law.to_json()) == law
    with pytest.raises(TypeError, match="spec: expected a CouplingSpec, got LULinearSpec"):
        CouplingSpec.from_dict(LU)
    with pytest.raises(TypeError, match="spec: expected a MADESpec, got AffineLaw"):
        MADESpec.from_json(law.to_json())


def nested(depth, inner='{"kind":"permutation","order":[1,0]}'):
    """The text of compositions inside one another, built without recursion."""
    return '{"kind":"compose","layers":[' * depth + inner + "]}" * depth


def test_the_deepest_composition_can_be_used_in_every_way():
    spec = FlowSpec.from_json(nested(MAX_NESTING, LULinearSpec(2).to_json()))
    assert spec.nesting == MAX_NESTING
    for twin in (
        FlowSpec.from_json(spec.to_json()),
        FlowSpec.from_dict(spec.to_dict()),
        copy.deepcopy(spec),
        pickle.loads(pickle.dumps(spec)),
    ):
        assert twin == spec
        assert hash(twin) == hash(spec)
        assert twin.arrays()[0].name == "layers.0." * MAX_NESTING + "lower"
    assert str(spec).count("\n") == 2 * MAX_NESTING
    assert repr(spec).startswith("ComposeSpec(layers=(ComposeSpec(")
    with pytest.raises(ValueError, match=f"at most {MAX_NESTING} deep, got {MAX_NESTING + 1}"):
        ComposeSpec((spec,))


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 150, 1000, 100_000])
def test_hostile_nesting_is_refused(depth):
    with pytest.raises(ValueError, match="nested"):
        FlowSpec.from_json(nested(depth))
    for text in ("[" * depth, '{"kind":' * depth, nested(depth)[:-1]):
        with pytest.raises(ValueError, match=r"nested too deeply|expected JSON"):
            FlowSpec.from_json(text)


def test_a_dict_inside_itself_is_refused():
    endless = {"kind": "compose", "layers": []}
    endless["layers"].append(endless)
    with pytest.raises(ValueError, match="nested too deeply"):
        FlowSpec.from_dict(endless)
