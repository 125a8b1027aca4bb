"""Settings of a fit: the split, the minibatches, the rates, and what is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flowkit_core.fitting import FitSettings, check_data_shape, check_finite_rows

DEFAULTS = {
    "validation": 0.1,
    "batch_size": 16,
    "num_epochs": 10,
    "learning_rate": 0.01,
    "schedule": "cosine",
    "max_grad_norm": 5.0,
    "patience": 3,
    "seed": 0,
}


def make(**changes):
    return FitSettings(**{**DEFAULTS, **changes})


@hypothesis_settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(num_rows=st.integers(2, 500), fraction=st.floats(0.0, 0.99), seed=st.integers(0, 2**40))
def test_the_split_puts_every_row_on_one_side(num_rows, fraction, seed):
    settings = make(validation=fraction, seed=seed)
    held_out = round(fraction * num_rows)
    if held_out == num_rows or (held_out == 0 and fraction > 0):
        with pytest.raises(ValueError, match="at least one row on each side"):
            settings.split(num_rows)
        return
    train, validation = settings.split(num_rows)
    assert len(validation) == held_out
    assert sorted([*train, *validation]) == list(range(num_rows))


def test_the_split_is_random_and_decided_by_the_seed():
    train, validation = make().split(100)
    assert sorted(validation) != list(range(10))
    assert not (np.diff(train) > 0).all()
    np.testing.assert_array_equal(make().split(100)[1], validation)
    assert set(make(seed=1).split(100)[1]) != set(validation)


def test_without_validation_all_rows_are_trained_on():
    train, validation = make(validation=0).split(7)
    assert sorted(train) == list(range(7))
    assert len(validation) == 0


def test_a_split_that_leaves_one_side_empty_is_refused_in_words():
    with pytest.raises(ValueError, match=r"validation: 0\.1 of 4 rows holds out 0; expected at"):
        make().split(4)
    with pytest.raises(ValueError, match=r"validation: 0\.9 of 2 rows holds out 2.*=0 trains on"):
        make(validation=0.9).split(2)


@hypothesis_settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(num_rows=st.integers(1, 300), batch_size=st.integers(1, 400), epoch=st.integers(0, 50))
def test_batches_are_full_and_use_no_row_twice(num_rows, batch_size, epoch):
    settings = make(batch_size=batch_size)
    batches = settings.batches(num_rows, epoch)
    size = min(batch_size, num_rows)
    assert batches.shape == (settings.steps_per_epoch(num_rows), size)
    assert batches.size > num_rows - size  # what is left out is less than a batch
    assert len(set(batches.ravel())) == batches.size
    assert batches.min() >= 0
    assert batches.max() < num_rows


def test_batches_change_with_epoch_and_seed_alone():
    batches = make().batches(64, 0)
    np.testing.assert_array_equal(make(learning_rate=1.0).batches(64, 0), batches)
    assert (make().batches(64, 1) != batches).any()
    assert (make(seed=1).batches(64, 0) != batches).any()


def test_rows_left_out_of_one_epoch_are_used_in_others():
    settings = make(batch_size=16)
    used = [set(settings.batches(31, epoch).ravel()) for epoch in range(12)]
    assert all(len(rows) == 16 for rows in used)
    assert set.union(*used) == set(range(31))


def test_the_cosine_falls_from_the_rate_to_nothing():
    settings = make(num_epochs=5, batch_size=16, learning_rate=0.2)
    rates = np.concatenate([settings.rates(64, epoch) for epoch in range(5)])
    expected = [0.1 * (1 + math.cos(math.pi * k / 20)) for k in range(20)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert rates[0] == 0.2
    assert (np.diff(rates) < 0).all()
    assert 0 < rates[-1] < 0.2 * 0.01


def test_the_constant_schedule_is_constant():
    np.testing.assert_array_equal(make(schedule="constant").rates(64, 7), [0.01] * 4)


def test_settings_are_written_as_plain_numbers_whatever_they_came_as():
    settings = make(
        validation=np.float32(0.25), batch_size=np.int64(8), num_epochs=np.int32(3),
        learning_rate=np.float64(0.5), max_grad_norm=2, patience=np.uint8(4), seed=np.int64(9),
    )  # fmt: skip
    values = settings.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values == {
        "validation": 0.25, "batch_size": 8, "num_epochs": 3, "learning_rate": 0.5,
        "schedule": "cosine", "max_grad_norm": 2.0, "patience": 4, "seed": 9,
    }  # fmt: skip


REFUSED = {
    "validation": [
        (1.0, ValueError, r"a fraction in \[0, 1\), got 1\.0"), (-0.1, ValueError, "got -0.1"),
        (math.nan, ValueError, "got nan"), (True, TypeError, "a fraction, got True"),
        ("half", TypeError, "a fraction, got 'half'"), (None, TypeError, "a fraction, got None"),
    ],
    "batch_size": [(0, ValueError, ">= 1, got 0"), (8.0, TypeError, r"an integer, got 8\.0")],
    "num_epochs": [(0, ValueError, ">= 1, got 0"), (True, TypeError, "an integer, got True")],
    "learning_rate": [
        (0, ValueError, "> 0, got 0"), (-1.0, ValueError, "> 0, got -1.0"),
        (math.inf, ValueError, "finite number > 0, got inf"), ("1", TypeError, "a number, got '1'"),
    ],
    "schedule": [("linear", ValueError, "one of 'cosine', 'constant', got 'linear'")],
    "max_grad_norm": [(0.0, ValueError, "> 0, got 0.0"), (None, TypeError, "a number, got None")],
    "patience": [(0, ValueError, ">= 1, got 0"), (2.5, TypeError, r"an integer, got 2\.5")],
    "seed": [(-1, ValueError, ">= 0, got -1"), (None, TypeError, "an integer, got None")],
}  # fmt: skip
CASES = [(name, *case) for name, cases in REFUSED.items() for case in cases]


@pytest.mark.parametrize(("name", "value", "error", "message"), CASES)
def test_settings_out_of_range_are_refused(name, value, error, message):
    with pytest.raises(error, match=f"{name}: .*{message}"):
        make(**{name: value})


def test_rows_that_are_not_finite_are_named():
    check_finite_rows("data", np.array([], dtype=np.int64))
    with pytest.raises(ValueError, match=r"data: expected finite .* in rows 3, 5$"):
        check_finite_rows("data", np.array([3, 5]))
    with pytest.raises(ValueError, match=r"in rows 0, 1, .*, 9, \.\.\. \(25 in all\)$"):
        check_finite_rows("data", np.arange(25))


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 3, 1), ()], ids=str)
def test_data_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"data: expected shape \(n, 3\), got"):
        check_data_shape("data", shape, (3,))


@pytest.mark.parametrize("num_rows", [0, 1])
def test_too_few_rows_are_refused(num_rows):
    check_data_shape("data", (2, 3), (3,))
    with pytest.raises(ValueError, match=f"at least two rows to fit a density, got {num_rows}"):
        check_data_shape("data", (num_rows, 3), (3,))
