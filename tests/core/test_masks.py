"""Masks and orders: who sees whom, by brute force over small networks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowkit_core import masks
from flowkit_core.specs import MADESpec

every_dim = pytest.mark.parametrize("input_dim", range(1, 10))
with_context = pytest.mark.parametrize("context", [False, True], ids=["plain", "context"])
quick = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def made(input_dim, hidden_dims, *, context=False, residual=False, num_params=2):
    return MADESpec(
        hidden_dims=hidden_dims,
        activation="relu",
        context_dim=int(context),
        input_dim=input_dim,
        num_params=num_params,
        residual=residual,
    )


def reachable(spec):
    """Whether parameter row r can depend on position c: the network's paths, counted one by one.

    A residual stream carries every unit on to the same unit of the next block.
    """
    if not spec.hidden_dims:
        return spec.masks[0]
    first, *inner, last = [mask.astype(int) for mask in spec.masks]
    if spec.residual:
        pairs = zip(inner[::2], inner[1::2], strict=True)
        inner = [np.eye(len(a), dtype=int) + b @ a for a, b in pairs]
    paths = first
    for mask in inner:
        paths = np.minimum(mask @ paths, 1)
    return last @ paths > 0


def networks():
    """Every pair of widths that matters for each D, and deeper ones."""
    for input_dim in range(1, 10):
        for widths in [(w,) for w in range(1, 13)] + [(w, 13 - w) for w in range(1, 13)]:
            yield input_dim, widths, False
        for width in range(1, 13):
            yield input_dim, (width,), True
            yield input_dim, (width, width), True
        yield input_dim, (), False
        yield input_dim, (12, 3, 7), False


@every_dim
@with_context
@pytest.mark.parametrize("width", range(1, 13))
def test_degrees_are_sorted_and_spread_evenly(input_dim, context, width):
    degrees = masks.hidden_degrees(input_dim, width, context=context)
    lowest = 0 if context or input_dim == 1 else 1
    allowed = np.arange(lowest, max(input_dim, 1))
    assert degrees.shape == (width,)
    assert (np.diff(degrees) >= 0).all()
    assert degrees[0] == lowest
    assert set(degrees) <= set(allowed)
    counts = [(degrees == d).sum() for d in allowed]
    assert max(counts) - min(counts) <= 1
    if width >= len(allowed):
        assert set(degrees) == set(allowed)


@every_dim
@with_context
@pytest.mark.parametrize("width", [*range(1, 13), 500])
def test_units_are_counted_without_being_made(input_dim, context, width):
    degrees = masks.hidden_degrees(input_dim, width, context=context)
    expected = [int((degrees <= j).sum()) for j in range(input_dim)]
    assert masks.units_up_to(input_dim, width, context=context) == expected


@with_context
def test_no_parameter_sees_its_own_or_a_later_position(context):
    for input_dim, widths, residual in networks():
        spec = made(input_dim, widths, context=context, residual=residual)
        seen = reachable(spec).reshape(2, input_dim, input_dim)
        earlier = np.tril(np.ones((input_dim, input_dim), dtype=bool), -1)
        assert not (seen & ~earlier).any(), spec
        np.testing.assert_array_equal(seen[0], seen[1])


@with_context
def test_every_parameter_sees_all_earlier_positions_if_the_network_is_wide_enough(context):
    wide = 0
    for input_dim, widths, residual in networks():
        # One unit of each degree is enough: 1 .. D-1, and 0 for those that see the context alone.
        if min(widths, default=99) < max(input_dim - 1 + context, 1):
            continue
        wide += 1
        seen = reachable(made(input_dim, widths, context=context, residual=residual))
        earlier = np.tril(np.ones((input_dim, input_dim), dtype=bool), -1)
        np.testing.assert_array_equal(seen, np.tile(earlier, (2, 1)))
    assert wide > 100


@every_dim
@pytest.mark.parametrize("widths", [(1,), (3, 5), (12, 12)], ids=str)
def test_with_a_context_every_parameter_sees_units_that_see_it(input_dim, widths):
    first, *inner, last = [m.astype(int) for m in made(input_dim, widths, context=True).masks]
    informed = np.ones(len(first), dtype=int)  # the context enters every unit of the first layer
    for mask in inner:
        informed = mask @ informed
    assert (last @ informed > 0).all()


def test_a_network_without_hidden_layers_sees_exactly_the_earlier_positions():
    expected = [[False] * 3, [True, False, False], [True, True, False]]
    assert masks.strict_mask(3).tolist() == expected
    assert made(3, (), num_params=2).masks[0].tolist() == expected * 2


@with_context
def test_mean_numbers_of_inputs_are_those_of_the_masks(context):
    for input_dim, widths, residual in networks():
        spec = made(input_dim, widths, context=context, residual=residual, num_params=3)
        expected = [(*m.shape, round(float(m.sum()) / m.shape[0])) for m in spec.masks]
        assert spec.layer_sizes() == expected, spec


def test_the_sizes_of_a_monstrous_network_take_no_memory():
    spec = made(3, (10**40, 10**15))
    assert [a.shape for a in spec.arrays()][2] == (10**15, 10**40)


def test_alternating_masks():
    assert masks.alternating_mask(5) == (True, False, True, False, True)
    assert masks.alternating_mask(4, flip=True) == (False, True, False, True)
    assert masks.alternating_mask(1) == (True,)


def test_half_masks():
    assert masks.half_mask(5) == (True, True, True, False, False)
    assert masks.half_mask(4, flip=True) == (False, False, True, True)
    assert masks.half_mask(1) == (True,)


@pytest.mark.parametrize("make", [masks.alternating_mask, masks.half_mask])
@every_dim
def test_a_flipped_mask_is_the_opposite_and_the_halves_are_even(make, input_dim):
    mask, flipped = make(input_dim), make(input_dim, flip=True)
    assert all(a is not b for a, b in zip(mask, flipped, strict=True))
    assert sum(mask) - sum(flipped) in (0, 1)


def test_orders():
    assert masks.natural_order(4) == (0, 1, 2, 3)
    assert masks.reverse_order(4) == (3, 2, 1, 0)


@quick
@given(order=st.integers(1, 40).flatmap(lambda d: st.permutations(range(d))))
def test_the_inverse_order_undoes_an_order(order):
    x = np.arange(len(order)) * 10
    inverse = masks.invert_order(order)
    np.testing.assert_array_equal(x[list(order)][list(inverse)], x)
    np.testing.assert_array_equal(x[list(inverse)][list(order)], x)
    assert masks.invert_order(inverse) == tuple(order)
    assert all(type(i) is int for i in inverse)


@quick
@given(input_dim=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_random_orders_are_permutations_of_plain_integers(input_dim, seed):
    order = masks.random_order(input_dim, np.random.default_rng(seed))
    assert sorted(order) == list(range(input_dim))
    assert all(type(i) is int for i in order)
    assert order == masks.random_order(input_dim, np.random.default_rng(seed))


def test_random_orders_are_uniform():
    generator = np.random.default_rng(0)
    draws = [masks.random_order(3, generator) for _ in range(6000)]
    counts = [draws.count(order) for order in set(draws)]
    assert len(counts) == 6
    # Each count is binomial with mean 1000 and standard deviation 29.
    assert all(abs(count - 1000) < 5 * 29 for count in counts)
