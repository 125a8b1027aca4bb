"""The phases of a guide's fit: when each one ends, and by which rates and gradients it goes."""

import math

import numpy as np
import pytest

from flowkit_core.fitting import GuidePlan
from flowkit_core.fitting.guide_plan import TREND
from flowkit_core.fitting.guide_state import WindowRecord
from tests.core.fake_guide_trainer import guide_settings, new_state, play

NAN, INF = math.nan, math.inf


def plan_of(*, paths=True, **changes):
    return GuidePlan(guide_settings(**changes), has_path_gradient=paths)


def flat(state, count):
    """Losses about zero that know no trend: their standard error is far above their mean."""
    return np.random.default_rng(state.step).normal(size=count)


def falling(state, count):
    """Losses that fall by a nat with every step."""
    return 1000.0 - state.step - np.arange(count)


def phases(state):
    """The phase and first step of each phase, in order."""
    starts = {}
    for window in state.windows:
        starts.setdefault(window.phase, window.first_step)
    return starts


def test_a_flat_phase_ends_after_as_many_windows_as_the_trend_needs():
    state, _ = play(plan_of(num_steps=10_000), lambda state, count: np.full(count, 7.0))
    assert phases(state) == {"total": 0, "path": TREND * 200, "decay": 2 * TREND * 200}
    assert (state.stopped, state.step) == ("converged", 3 * TREND * 200)


def test_noise_about_a_constant_is_flat():
    state, _ = play(plan_of(num_steps=10_000), flat)
    assert state.stopped == "converged"
    assert state.step < 10_000


@pytest.mark.parametrize("num_steps", [500, 1000, 1234, 20_000])
def test_a_steadily_improving_phase_lasts_for_its_share_of_the_budget(num_steps):
    state, _ = play(plan_of(num_steps=num_steps), falling)
    starts = {"total": 0, "path": int(0.2 * num_steps), "decay": int(0.7 * num_steps)}
    assert phases(state) == starts
    assert (state.stopped, state.step) == ("steps", num_steps)


def test_an_improvement_within_two_standard_errors_is_none_and_beyond_them_one():
    def drifting(drift):
        def losses(state, count):
            noise = np.tile([-1.0, 1.0], count)[:count]  # standard error of a window: 0.186
            return noise - drift * state.step / count

        return play(plan_of(num_steps=20_000), losses, until=TREND)[0]

    # The slope of a line through TREND points has the standard error of one over this root.
    threshold = 2 * 0.1858 / math.sqrt((TREND**3 - TREND) / 12)
    assert drifting(0.95 * threshold).phase == "path"
    assert drifting(1.05 * threshold).phase == "total"


def test_an_improvement_below_a_thousandth_of_a_nat_is_none_even_without_noise():
    def drifting(drift):
        return play(plan_of(num_steps=20_000), lambda state, count:
                    np.full(count, -drift * state.step / count), until=TREND)[0]  # fmt: skip

    assert drifting(0.99e-3 / TREND).phase == "path"
    assert drifting(1.01e-3 / TREND).phase == "total"


def test_a_loss_that_rises_a_little_is_flat():
    state, _ = play(plan_of(num_steps=10_000), lambda s, count: np.full(count, s.step * 1e-5))
    assert (state.stopped, state.falls) == ("converged", 0)


def test_one_draw_from_a_tail_in_every_window_hides_no_convergence():
    def losses(state, count):
        found = np.random.default_rng(state.step).normal(size=count) * 0.1
        found[0] += 1e12 * (state.step + 1)
        return found

    assert play(plan_of(num_steps=10_000), losses)[0].stopped == "converged"


@pytest.mark.parametrize("num_steps", [*range(3, 70), 99, 101, 333])
@pytest.mark.parametrize("losses", [flat, falling])
@pytest.mark.parametrize("paths", [True, False])
def test_every_budget_is_kept_and_ends_with_a_decay(num_steps, losses, paths):
    state, windows = play(plan_of(num_steps=num_steps, paths=paths), losses)
    assert state.step == len(state.losses) == sum(len(w.rates) for w in windows)
    assert state.step <= num_steps
    assert windows[-1].average
    assert state.windows[-1].phase == "decay"
    assert windows[-1].rates[-1] < windows[-1].rates[0] or len(windows[-1].rates) == 1


@pytest.mark.parametrize("num_steps", [1, 2])
def test_budgets_too_small_for_phases_are_kept_as_well(num_steps):
    state, _ = play(plan_of(num_steps=num_steps), flat)
    assert (state.stopped, state.step) == ("steps", num_steps)


def test_rates_ramp_up_stay_and_fall_along_a_cosine():
    plan = plan_of(num_steps=10_000, learning_rate=0.5)
    state, windows = play(plan, falling)
    rates = np.concatenate([window.rates for window in windows])
    np.testing.assert_allclose(rates[:100], 0.5 * np.arange(1, 101) / 100, rtol=1e-12)
    np.testing.assert_array_equal(rates[100:2000], 0.5)
    np.testing.assert_allclose(rates[2000:2100], rates[:100], rtol=1e-12)  # path begins
    np.testing.assert_array_equal(rates[2100:7000], 0.5)
    half = 0.5 * (1 + np.cos(np.pi * np.arange(3000) / 3000))
    np.testing.assert_allclose(rates[7000:], 0.005 + 0.495 * half, rtol=1e-12)
    assert (np.diff(rates[7000:]) < 0).all()
    assert state.step == len(rates) == 10_000


def test_weights_are_averaged_in_the_decay_only():
    state, windows = play(plan_of(), falling)
    assert [w.average for w in windows] == [w.phase == "decay" for w in state.windows]


GRADIENTS = {
    "auto": {"total": False, "path": True, "decay": True},
    "path": {"path": True, "decay": True},
    "total": {"total": False, "decay": False},
}


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_phases_follow_one_another_as_the_gradient_asks(gradient):
    state, windows = play(plan_of(gradient=gradient), flat)
    found = {r.phase: w.path_gradient for r, w in zip(state.windows, windows, strict=True)}
    assert found == GRADIENTS[gradient]
    assert list(found) == list(GRADIENTS[gradient])


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_without_path_gradients_everything_is_total(gradient):
    state, windows = play(plan_of(gradient=gradient, paths=False), falling)
    assert not any(window.path_gradient for window in windows)
    assert phases(state) == {"total": 0, "decay": 350}


def with_jumps(at):
    """Losses of zero, but for a thousand in the windows that begin at these steps."""
    return lambda state, count: np.full(count, 1000.0 if state.step in at else 0.0)


def test_a_fall_goes_back_at_half_the_rate_and_ramps_up_anew():
    plan = plan_of(learning_rate=0.08)
    state = new_state(plan)
    assert not plan.advance(state, np.zeros(10), 0)
    state.best_median = state.windows[-1].median
    assert plan.advance(state, np.full(10, 1000.0), 0)
    assert (state.falls, state.rate, state.phase, state.phase_start) == (1, 0.04, "total", 20)
    np.testing.assert_allclose(plan.next_window(state).rates, 0.004 * np.arange(1, 11))


@pytest.mark.parametrize(("loss", "falls"), [(0.9, 0), (1.1, 1)])
def test_less_than_a_nat_is_no_fall(loss, falls):
    plan = plan_of()
    state = new_state(plan)
    state.best_median = 0.0
    plan.advance(state, np.full(10, loss), 0)
    assert state.falls == falls


def test_less_than_ten_standard_errors_is_no_fall():
    plan = plan_of()
    noise = np.tile([-3.0, 3.0], 5)  # standard error: 1.2533 * 1.4826 * 6 / sqrt(20) = 2.49
    for shift, falls in ((24.5, 0), (25.5, 1)):
        state = new_state(plan)
        state.best_median = 0.0
        plan.advance(state, noise + shift, 0)
        assert state.falls == falls


def test_before_anything_was_good_no_height_is_a_fall():
    plan = plan_of()
    state = new_state(plan)
    assert not plan.advance(state, np.full(10, 1e30), 0)


@pytest.mark.parametrize("growth", [1.05, 1.5])
def test_a_loss_that_explodes_is_a_fall(growth):
    plan = plan_of(num_steps=10_000)
    state = new_state(plan)
    state.best_median = 0.0
    plan.advance(state, growth ** np.arange(200.0), 0)
    assert state.falls == 1


def test_the_standard_error_of_a_window_is_that_of_its_median():
    rng = np.random.default_rng(0)
    state = new_state(plan_of())
    records = [WindowRecord.of(state, rng.normal(size=100)) for _ in range(2000)]
    spread = np.std([record.median for record in records])
    # Of a standard deviation from 2000 numbers 1.6 % is the standard error.
    assert abs(np.mean([record.error for record in records]) / spread - 1) < 0.05


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
def test_a_window_without_finite_losses_is_a_fall(loss):
    plan = plan_of()
    state = new_state(plan)
    assert plan.advance(state, np.full(10, loss), 10)
    assert (state.falls, state.skipped_steps, state.windows[-1].median) == (1, 10, INF)


def test_a_window_with_fewer_than_half_of_its_losses_missing_has_a_median():
    plan = plan_of()
    state = new_state(plan)
    assert not plan.advance(state, np.array([1.0, 2, 3, 4, 5, 6, NAN, NAN, INF, -INF]), 4)
    assert state.windows[-1].median == 5.5  # what is missing counts as infinitely bad
    assert math.isfinite(state.windows[-1].error)


def test_after_two_falls_the_gradient_is_total_to_the_end():
    plan = plan_of(gradient="path", num_steps=1000)
    state = new_state(plan)
    seen = []
    while not state.stopped:
        window = plan.next_window(state)
        seen.append((state.falls, window.path_gradient))
        jump = state.step in (100, 200)
        plan.advance(state, np.full(len(window.rates), 1e3 if jump else -1.0 * state.step), 0)
        state.best_median = min(state.best_median, state.windows[-1].median)
    assert set(seen) == {(0, True), (1, True), (2, False)}
    assert state.windows[-1].phase == "decay"


def test_after_too_many_falls_it_has_diverged():
    plan = plan_of(num_steps=10_000, learning_rate=0.64)
    state, windows = play(plan, lambda state, count: np.full(count, NAN))
    assert (state.stopped, state.falls, len(windows)) == ("diverged", 6, 6)
    assert state.rate == 0.01


@pytest.mark.parametrize("num_steps", [10, 20, 50, 200, 500])
def test_falls_at_the_end_of_a_phase_or_of_the_budget_take_no_step_too_many(num_steps):
    settings = {"num_steps": num_steps}
    _, windows = play(plan_of(**settings), falling)
    ends = np.cumsum([len(window.rates) for window in windows])
    for begin in ends - [len(window.rates) for window in windows]:
        if begin == 0:
            continue  # nothing to fall from
        plan = plan_of(**settings)
        state = new_state(plan)
        while not state.stopped:
            count = len(plan.next_window(state).rates)
            losses = np.full(count, 1e6 if state.step == begin else -1.0 * state.step)
            if not plan.advance(state, losses, 0):
                state.best_median = min(state.best_median, state.windows[-1].median)
        assert (state.stopped, state.step, state.falls) == ("steps", num_steps, 1)
        assert state.windows[-1].phase == "decay"
        assert min(len(w.rates) for w in windows) > 1 or num_steps < 20


def test_a_fall_in_the_decay_starts_another_at_half_the_rate():
    plan = plan_of(num_steps=1000, learning_rate=0.4)
    state = new_state(plan)
    while state.step < 800:
        count = len(plan.next_window(state).rates)
        plan.advance(state, falling(state, count), 0)
    state.best_median = state.windows[-1].median
    assert plan.advance(state, np.full(20, 1e6), 0)
    window = plan.next_window(state)
    assert (state.phase, state.decay_end, state.step) == ("decay", 1000, 820)
    assert window.rates[0] == 0.2
    assert window.average


def test_a_clock_lets_the_rate_fall_and_is_what_ended_it():
    plan = plan_of(num_steps=10_000)
    state, _ = play(plan, falling, until=5)
    plan.hurry(state, 150)
    assert (state.phase, state.decay_end) == ("decay", 1150)
    end, windows = play(plan, falling, state=state)
    assert (end.stopped, end.step) == ("time", 1150)
    assert windows[-1].rates[-1] < 0.05 * windows[0].rates[0]


def test_a_clock_cannot_prolong_the_budget():
    plan = plan_of(num_steps=500)
    state, _ = play(plan, falling, until=30)
    plan.hurry(state, 10_000)
    assert state.decay_end == 500


def test_windows_are_a_fiftieth_of_the_budget_between_10_and_200_steps():
    sizes = {n: guide_settings(num_steps=n).window for n in (1, 500, 1000, 10_000, 10**6)}
    assert sizes == {1: 10, 500: 10, 1000: 20, 10_000: 200, 10**6: 200}
