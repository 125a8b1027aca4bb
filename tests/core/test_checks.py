"""Checks of user input: what passes comes back plain, what does not is named."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from flowkit_core import checks


@pytest.mark.parametrize("value", [1, 7, np.int8(3), np.uint64(9), 10**30])
def test_integers_come_back_as_int(value):
    result = checks.positive_int("n", value)
    assert type(result) is int
    assert result == value


@pytest.mark.parametrize("value", [True, np.True_, 1.0, np.float64(2), "1", None, [1], Decimal(1)])
def test_what_is_no_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match="n: expected an integer, got "):
        checks.positive_int("n", value)


@pytest.mark.parametrize(("value", "smallest"), [(0, 1), (-3, 1), (1, 2), (np.int64(-1), 0)])
def test_integers_that_are_too_small_are_a_value_error(value, smallest):
    with pytest.raises(ValueError, match=f"n: expected an integer >= {smallest}, got {value}"):
        checks.int_at_least("n", value, smallest)


def test_the_smallest_integer_passes():
    assert checks.int_at_least("n", -2, -2) == -2


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.25), Fraction(1, 4), 5e-324, 1.7e308])
def test_numbers_come_back_as_float(value):
    result = checks.positive_float("x", value)
    assert type(result) is float
    assert result == value


@pytest.mark.parametrize(
    "value", [0, -1.0, float("nan"), float("inf"), 10**400, Fraction(1, 10**400)], ids=range(6)
)
def test_numbers_that_are_not_positive_floats_are_a_value_error(value):
    with pytest.raises(ValueError, match="x: expected a finite number > 0, got "):
        checks.positive_float("x", value)


@pytest.mark.parametrize("value", [True, "1", None, 1j, [1.0], np.ones(1)], ids=str)
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="x: expected a number, got "):
        checks.positive_float("x", value)


def test_a_choice_is_one_of_the_names():
    assert checks.choice("mode", "b", {"a": 1, "b": 2}) == "b"
    assert checks.choice("mode", "a", iter("ab")) == "a"
    for value in ("c", "", None, 1, ["a"], ("a", "b")):
        with pytest.raises(ValueError, match="mode: expected one of 'a', 'b', got "):
            checks.choice("mode", value, ("a", "b"))


def test_a_boolean_is_true_or_false_and_nothing_like_it():
    assert checks.boolean("flag", True) is True
    assert checks.boolean("flag", False) is False
    for value in (0, 1, None, "yes", np.True_):
        with pytest.raises(TypeError, match="flag: expected True or False, got "):
            checks.boolean("flag", value)


def test_sequences_come_back_as_tuples():
    for value in ([1, 2], (1, 2), range(1, 3), iter([1, 2]), np.array([1, 2])):
        assert checks.sequence("s", value) == (1, 2)


@pytest.mark.parametrize("value", [3, None, "ab", b"ab", object], ids=str)
def test_what_is_no_sequence_is_a_type_error(value):
    with pytest.raises(TypeError, match="s: expected a sequence, got "):
        checks.sequence("s", value)


@pytest.mark.parametrize("ndim", [0, 2, 3])
def test_arrays_have_one_dimension(ndim):
    with pytest.raises(ValueError, match=f"s: expected one dimension, got {ndim}"):
        checks.sequence("s", np.ones((2,) * ndim))


def test_widths():
    assert checks.widths("w", np.array([3, 2])) == (3, 2)
    assert checks.widths("w", []) == ()
    with pytest.raises(ValueError, match=r"w\[1\]: expected an integer >= 1, got 0"):
        checks.widths("w", [3, 0])


def test_permutations():
    assert checks.permutation("p", np.array([2, 0, 1])) == (2, 0, 1)
    assert checks.permutation("p", [0]) == (0,)
    for value in ([1, 2], [0, 0], [0, 2], [3, 1, 0, 3]):
        with pytest.raises(ValueError, match=r"p: expected each of 0 \.\. \d exactly once, got "):
            checks.permutation("p", value)
    with pytest.raises(ValueError, match="p: expected at least one index, got none"):
        checks.permutation("p", [])


def test_boolean_masks():
    for value in ([True, False], np.array([True, False]), [np.True_, np.False_]):
        mask = checks.boolean_mask("m", value)
        assert mask == (True, False)
        assert {type(entry) for entry in mask} == {bool}
    for value in ([1, 0], ["a"], [None], np.array([1.0]), [[True]]):
        with pytest.raises(TypeError, match=r"m\[0\]: expected True or False, got "):
            checks.boolean_mask("m", value)
    with pytest.raises(ValueError, match="m: expected at least one entry, got none"):
        checks.boolean_mask("m", [])


def test_instances():
    assert checks.instance("thing", 3, int) == 3
    with pytest.raises(TypeError, match="thing: expected a str, got int"):
        checks.instance("thing", 3, str)
