"""Damaged descriptions of flows: refused with a ValueError or TypeError, or sound after all."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowkit_core import recipes as r
from flowkit_core.specs import AffineLaw, FlowSpec, LULinearSpec
from tests.cases import CASES

LU = LULinearSpec(2).to_dict()


def places(value, path=()):
    """The path of every value inside nested dicts and lists, the whole included."""
    yield path
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(entry, (*path, key))


def changed(data, path, value):
    """A copy of ``data`` with another value at ``path``."""
    if not path:
        return value
    data = copy.deepcopy(data)
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return data


SEEDS = [CASES[c].to_dict() for c in ("maf_residual", "iaf_context", "realnvp_lu", "compose")]
FRAGMENTS = [LU, AffineLaw().to_dict(), r.maf(2, hidden_dims=(3,)).layers[0].to_dict()]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["relu", "affine", "compose", "kind", 10**400, -(10**400)])
)
VALUES = st.recursive(
    SCALARS | st.sampled_from(FRAGMENTS),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def assert_refused_or_round_trips(read):
    """Any exception other than a ValueError or TypeError fails the test."""
    try:
        spec = read()
    except (TypeError, ValueError):
        return
    assert FlowSpec.from_json(spec.to_json()) == spec
    assert hash(FlowSpec.from_dict(spec.to_dict())) == hash(spec)


@settings(max_examples=250, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_one_wrong_value_is_refused_or_gives_a_spec_that_round_trips(data):
    valid = data.draw(st.sampled_from(SEEDS))
    path = data.draw(st.sampled_from(list(places(valid))))
    mutated = changed(valid, path, data.draw(VALUES))
    assert_refused_or_round_trips(lambda: FlowSpec.from_dict(mutated))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_one_field_more_or_less_is_refused(data):
    valid = data.draw(st.sampled_from(SEEDS))
    paths = [p for p in places(valid) if p and isinstance(p[-1], str)]
    path = data.draw(st.sampled_from(paths))
    mutated = changed(valid, path, None)
    at = mutated
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    if data.draw(st.booleans()):
        at[data.draw(st.text(max_size=6).filter(lambda name: name != path[-1]))] = 1
    with pytest.raises(ValueError, match="expected"):
        FlowSpec.from_dict(mutated)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_one_wrong_letter_is_refused_or_gives_a_spec_that_round_trips(data):
    text = json.dumps(data.draw(st.sampled_from(SEEDS)))
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from('0123456789-.e+,:[]{}"ntf \\') | st.characters())
    assert_refused_or_round_trips(lambda: FlowSpec.from_json(text[:at] + letter + text[at + 1 :]))
