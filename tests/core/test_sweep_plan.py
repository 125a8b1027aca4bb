"""The plan of the sweep: each unit once, each after everything that it sees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowkit_core.specs import MADESpec
from flowkit_core.sweep import SweepStep, sweep_steps


def made(input_dim, hidden_dims, *, context_dim=0, residual=False):
    return MADESpec(
        hidden_dims=hidden_dims,
        activation="relu",
        context_dim=context_dim,
        input_dim=input_dim,
        num_params=2,
        residual=residual,
    )


NETWORKS = {
    "one layer": made(5, (8,)),
    "two layers": made(6, (7, 11)),
    "narrow": made(9, (3, 5)),
    "one unit": made(7, (1,)),
    "narrow second": made(5, (12, 2)),
    "wide": made(3, (40, 30, 20)),
    "context": made(5, (8, 9), context_dim=2),
    "context narrow": made(8, (3, 2), context_dim=1),
    "residual": made(5, (8, 8), residual=True),
    "residual narrow": made(8, (3,), residual=True),
    "residual context": made(4, (6, 6, 6), residual=True, context_dim=3),
    "one coordinate": made(1, (4, 3)),
    "one coordinate, context": made(1, (4,), context_dim=2),
    "two coordinates": made(2, (5,)),
    "linear": made(4, ()),
    "linear, context": made(3, (), context_dim=2),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
def test_positions_are_taken_in_order_and_once(name):
    steps = sweep_steps(NETWORKS[name])
    taken = [j for step in steps for j in range(step.start, step.stop)]
    assert taken == list(range(NETWORKS[name].input_dim))
    assert all(step.start < step.stop for step in steps)


@every_network
def test_every_unit_is_evaluated_once(name):
    spec = NETWORKS[name]
    steps = sweep_steps(spec)
    assert {len(step.units) for step in steps} == {len(spec.degrees)}
    for layer, degrees in enumerate(spec.degrees):
        units = [u for step in steps for u in range(*step.units[layer])]
        assert units == list(range(len(degrees)))


def assert_everything_is_known_in_time(spec):
    """Walk through the plan and check against the masks that nothing is used before it is known."""
    known_inputs = np.zeros(spec.input_dim, dtype=bool)
    known = [np.zeros(len(d), dtype=bool) for d in spec.degrees]
    first, *inner, last = spec.masks if spec.degrees else (None, spec.masks[0])
    for step in sweep_steps(spec):
        assert known_inputs.sum() == step.start
        for layer, (start, stop) in enumerate(step.units):
            new = np.arange(start, stop)
            assert not known[layer][new].any()
            if layer == 0:
                assert not first[new][:, ~known_inputs].any()
            else:
                assert not inner[layer - 1][new][:, ~known[layer - 1]].any()
            known[layer][new] = True
            if spec.residual:  # both layers of every block, evaluated for the new units together
                for mask in inner:
                    assert not mask[new][:, ~known[layer]].any()
        rows = last.reshape(spec.num_params, spec.input_dim, -1)[:, step.start : step.stop]
        if spec.degrees:
            assert not rows[..., ~known[-1]].any()
        # Of a step with several positions none may see another.
        inputs = rows if not spec.degrees else np.zeros((1, 1, spec.input_dim), dtype=bool)
        assert not inputs[..., ~known_inputs].any()
        known_inputs[step.start : step.stop] = True


@every_network
def test_everything_is_known_when_it_is_needed(name):
    assert_everything_is_known_in_time(NETWORKS[name])


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    input_dim=st.integers(1, 12),
    widths=st.lists(st.integers(1, 15), max_size=3),
    context_dim=st.integers(0, 1),
    residual=st.booleans(),
)
def test_everything_is_known_when_it_is_needed_in_any_network(
    input_dim, widths, context_dim, residual
):
    if residual:
        widths = widths[:1] * len(widths) or [4]
    spec = made(input_dim, tuple(widths), context_dim=context_dim, residual=residual)
    assert_everything_is_known_in_time(spec)


@every_network
def test_new_units_have_the_degree_of_the_step(name):
    spec = NETWORKS[name]
    for step in sweep_steps(spec):
        for degrees, (start, stop) in zip(spec.degrees, step.units, strict=True):
            assert set(degrees[start:stop]) <= {step.start}


@every_network
def test_only_the_first_step_may_bring_no_unit(name):
    spec = NETWORKS[name]
    for step in sweep_steps(spec)[1:]:
        assert not spec.degrees or any(stop > start for start, stop in step.units)


def test_the_arithmetic_of_all_steps_is_that_of_one_masked_pass():
    spec = made(16, (64, 48))
    products = 0
    known = [0, 0]
    for step in sweep_steps(spec):
        (a, b), (c, d) = step.units
        known = [b, d]
        outputs = spec.num_params * (step.stop - step.start)
        products += (b - a) * step.start + (d - c) * known[0] + outputs * known[1]
    assert products == sum(int(mask.sum()) for mask in spec.masks)


def test_a_plan_in_full():
    assert sweep_steps(made(4, (6,), context_dim=1)) == (
        SweepStep(0, 1, ((0, 2),)),
        SweepStep(1, 2, ((2, 3),)),
        SweepStep(2, 3, ((3, 5),)),
        SweepStep(3, 4, ((5, 6),)),
    )
    # Degrees 1, 3, 5: nothing new is known at positions 2, 4 and 6.
    assert sweep_steps(made(7, (3,))) == (
        SweepStep(0, 1, ((0, 0),)),
        SweepStep(1, 3, ((0, 1),)),
        SweepStep(3, 5, ((1, 2),)),
        SweepStep(5, 7, ((2, 3),)),
    )
    assert sweep_steps(made(2, ())) == (SweepStep(0, 1, ()), SweepStep(1, 2, ()))
