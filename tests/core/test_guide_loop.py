"""The loop of a guide's fit: what is kept, what ends it, and that an interruption changes nothing.

The trainer knows its ELBO exactly; its steps are noisy.
"""

import functools
import itertools
import math
import time

import numpy as np
import pytest

from flowkit_core.fitting import GuideFitResult
from tests.core.fake_guide_trainer import TARGET, QuadraticTrainer

NAN = math.nan


def fit(trainer=None, **settings):
    """State, ELBO, its standard error and the weights kept, of a fit by a new trainer."""
    trainer = QuadraticTrainer() if trainer is None else trainer
    return (*trainer.fit(**settings), trainer)


@functools.cache
def whole():
    return fit()


def test_a_noisy_quadratic_is_climbed():
    state, elbo, stderr, trainer = whole()
    np.testing.assert_allclose(trainer.weight, TARGET, atol=0.02)
    assert elbo == trainer.evaluate(trainer.weights())[0] > -1e-3
    assert (stderr, state.skipped_steps, state.falls) == (0.01, 0, 0)
    assert state.stopped == "converged"
    assert state.step == len(state.losses) == sum(len(w.rates) for w in trainer.windows)
    assert [w.first_step for w in state.windows] == list(range(0, state.step, 10))


def test_the_same_seed_gives_the_same_fit_and_another_one_another():
    one, two, other = fit(seed=1), fit(seed=1), fit(seed=2)
    assert one[0].losses == two[0].losses != other[0].losses
    np.testing.assert_array_equal(one[-1].weight, two[-1].weight)


class Rated(QuadraticTrainer):
    """The last, the averaged and the best weights are 1, 2, 3, with ELBOs that a test sets."""

    def __init__(self, elbos):
        super().__init__()
        self.elbos = elbos

    def run(self, window, *, seed):
        self.count += 1
        self.weight = np.array([1.0, 0.0])
        return np.zeros(len(window.rates)), 0

    def weights(self):
        """Best is what it was after the first window."""
        return {"weight": np.array([3.0 if self.count < 2 else 1.0, 0.0])}

    def average(self):
        return {"weight": np.array([2.0, 0.0])}

    def evaluate(self, weights):
        return self.elbos[int(weights["weight"][0]) - 1], 0.1


KEPT = {
    "last": ((-1.0, -2.0, -3.0), 1),
    "averaged": ((-3.0, -1.0, -2.0), 2),
    "best": ((-3.0, -2.0, -1.0), 3),
    "last is NaN": ((NAN, -2.0, -3.0), 2),
    "others are not finite": ((math.inf, -math.inf, -3.0), 3),
}


@pytest.mark.parametrize("case", KEPT)
def test_of_last_averaged_and_best_the_one_with_the_highest_elbo_is_kept(case):
    elbos, kept = KEPT[case]
    _, elbo, _, trainer = fit(Rated(elbos))
    assert (elbo, trainer.weight[0]) == (elbos[kept - 1], kept)


def test_without_any_finite_elbo_the_best_weights_are_kept():
    _, elbo, _, trainer = fit(Rated((NAN, NAN, NAN)))
    assert math.isnan(elbo)
    assert trainer.weight[0] == 3.0


def test_steps_with_nan_are_counted_and_never_reach_the_weights():
    state, elbo, _, trainer = fit(QuadraticTrainer(nan_every=7))
    missing = np.isnan(state.losses)
    assert state.skipped_steps == missing.sum() == math.ceil(state.step / 7)
    assert elbo > -1e-3
    assert np.isfinite(trainer.weight).all()


def thrown(*steps):
    """Throw the weights far away before each of these steps, at which windows begin."""

    def script(trainer, step):
        if step in steps:
            trainer.weight = trainer.weight + 1e3

    return script


@pytest.mark.parametrize("steps", [(50,), (50, 90), (50, 90, 130)])
def test_after_falls_it_goes_on_from_the_best_weights_and_arrives(steps):
    state, elbo, _, trainer = fit(QuadraticTrainer(script=thrown(*steps)))
    assert (state.falls, state.rate) == (len(steps), 0.02 * 0.5 ** len(steps))
    assert [w.path_gradient for w in trainer.windows][-1] == (len(steps) < 2)
    assert state.stopped == "converged"
    assert elbo > -0.01
    np.testing.assert_allclose(trainer.weight, TARGET, atol=0.1)


def test_the_weights_after_a_fall_are_the_best_ones():
    found = []

    def script(trainer, step):
        found.append(trainer.weight.copy())
        thrown(80)(trainer, step)

    state = fit(QuadraticTrainer(script=script))[0]
    best = int(np.argmin([window.median for window in state.windows[:8]]))
    # Weights after the best window are those that the one after it started from.
    np.testing.assert_array_equal(found[9], found[best + 1])


def test_a_fit_that_falls_again_and_again_diverges_with_its_best_weights():
    trainer = QuadraticTrainer(script=thrown(*range(20, 500, 10)))
    state, elbo, _, _ = fit(trainer)
    assert (state.stopped, state.falls, state.step) == ("diverged", 6, 80)
    assert trainer.evaluate(trainer.weights())[0] == elbo > -10.0
    np.testing.assert_array_equal(trainer.weight, state.best["weight"])


def test_a_fit_that_never_sees_a_finite_loss_diverges_with_its_first_weights():
    state, elbo, _, trainer = fit(QuadraticTrainer(nan_every=1), num_steps=2000)
    assert (state.stopped, state.step, state.skipped_steps) == ("diverged", 240, 240)
    np.testing.assert_array_equal(trainer.weight, 0)
    assert elbo == -10.0


def test_weights_from_before_a_fall_are_not_in_the_average():
    plain = fit()[0]
    begin = next(window.first_step for window in plain.windows if window.phase == "decay")
    trainer = QuadraticTrainer(script=thrown(begin + 20))
    means = []
    trainer.average = lambda: means.append(trainer.mean.copy()) or {}
    state = fit(trainer)[0]
    assert (state.falls, state.windows[-1].phase) == (1, "decay")
    np.testing.assert_allclose(means, [TARGET], atol=0.05)


def ticking(monkeypatch, seconds_per_window):
    """A clock by which every window takes that long."""
    now = itertools.count(100.0, seconds_per_window)
    monkeypatch.setattr(time, "monotonic", lambda: next(now))


def slow(**kwargs):
    """A trainer that improves for ever."""
    trainer = QuadraticTrainer(**kwargs)

    def run(window, *, seed):
        trainer.windows.append(window)
        trainer.count += window.average
        return -1.0 * np.arange(seed[1], seed[1] + len(window.rates)), 0

    trainer.run = run
    return trainer


def test_a_time_budget_ends_a_fit_after_its_rate_has_fallen(monkeypatch):
    ticking(monkeypatch, 1.0)
    state, _, _, trainer = fit(slow(), num_steps=10**6, max_seconds=100.0)
    assert state.stopped == "time"
    assert 95 <= len(state.windows) <= 100
    decay = [w for w in trainer.windows if w.average]
    assert 25 <= len(decay) <= 30
    assert decay[-1].rates[-1] < 0.015 * decay[0].rates[0]


def test_a_time_budget_that_is_spent_by_the_first_window_ends_the_fit(monkeypatch):
    ticking(monkeypatch, 10.0)
    state = fit(slow(), num_steps=10_000, max_seconds=3.0)[0]
    assert (state.stopped, len(state.windows)) == ("time", 1)


def test_a_fit_that_is_done_before_its_time_says_how(monkeypatch):
    ticking(monkeypatch, 1.0)
    assert fit(max_seconds=1000.0)[0].stopped == "converged"
    assert fit(slow(), max_seconds=1000.0)[0].stopped == "steps"


def test_a_resumed_fit_plans_its_decay_by_the_steps_of_its_own_time(monkeypatch, tmp_path):
    path = tmp_path / "fit"
    stopped_after(60, slow(), path, num_steps=10**6)
    ticking(monkeypatch, 1.0)
    state, _, _, trainer = fit(slow(), num_steps=10**6, max_seconds=20.0, checkpoint=path)
    assert state.stopped == "time"
    decay = [w for w in trainer.windows if w.average]
    assert 5 <= len(decay) <= 6
    assert decay[-1].rates[-1] < 0.1 * decay[0].rates[0]


def test_a_fit_that_ran_out_of_time_goes_on_with_the_time_of_the_next_call(monkeypatch, tmp_path):
    settings = {"num_steps": 200, "checkpoint": tmp_path / "fit"}
    ticking(monkeypatch, 10.0)
    cut_short = fit(slow(), max_seconds=3.0, **settings)[0]
    assert (cut_short.stopped, cut_short.step < 200) == ("time", True)
    again = fit(slow(), **settings)[0]
    assert (again.stopped, again.step) == ("steps", 200)
    assert again.losses[: cut_short.step] == cut_short.losses


def stopped_after(windows, trainer, checkpoint=None, **settings):
    """A fit that is interrupted in the middle of a window."""
    real, done = trainer.run, itertools.count()

    def run(window, *, seed):
        if next(done) == windows:
            trainer.weight = trainer.weight + 0.01  # some of its steps were taken
            raise KeyboardInterrupt
        return real(window, seed=seed)

    trainer.run = run
    return (*trainer.fit(checkpoint=checkpoint, **settings), trainer)


def same(one, two):
    (state, elbo, stderr, trainer), (other, other_elbo, other_stderr, twin) = one, two
    assert (elbo, stderr) == (other_elbo, other_stderr)
    np.testing.assert_array_equal(state.losses, other.losses)
    assert state.windows == other.windows
    for name in ("phase", "rate", "step", "falls", "skipped_steps", "stopped", "best_median"):
        assert getattr(state, name) == getattr(other, name)
    np.testing.assert_array_equal(trainer.weight, twin.weight)


def test_an_interrupted_fit_keeps_its_best_weights_and_says_so():
    state, elbo, _, trainer = stopped_after(12, QuadraticTrainer())
    assert (state.stopped, state.step) == ("interrupted", 120)
    assert elbo == trainer.evaluate(trainer.weights())[0]
    assert elbo >= trainer.evaluate(state.best)[0] > -1.0


def test_a_fit_interrupted_before_its_first_window_keeps_its_first_weights(tmp_path):
    state, elbo, _, _ = stopped_after(0, QuadraticTrainer(), tmp_path / "fit")
    assert (state.stopped, state.step) == ("interrupted", 0)
    assert elbo >= -10.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("windows", [*range(1, 20), 25])
def test_a_fit_interrupted_in_any_window_ends_the_same(tmp_path, windows):
    path = tmp_path / "fit"
    settings = {"num_steps": 400, "learning_rate": 0.005}
    assert stopped_after(windows, QuadraticTrainer(), path, **settings)[0].stopped == "interrupted"
    same(fit(checkpoint=path, **settings), fit(**settings))


def test_a_fit_interrupted_again_and_again_ends_the_same(tmp_path):
    path = tmp_path / "fit"
    while stopped_after(3, QuadraticTrainer(), path)[0].stopped == "interrupted":
        pass
    same(fit(checkpoint=path), whole())


@pytest.mark.parametrize("windows", [5, 6, 7, 12, 16, 17])
def test_a_fit_with_falls_and_missing_losses_ends_the_same_after_an_interruption(tmp_path, windows):
    def rough():
        return QuadraticTrainer(nan_every=4, script=thrown(60, 160))

    expected = fit(rough())
    assert (expected[0].falls, expected[0].step > 200) == (2, True)
    stopped_after(windows, rough(), tmp_path / "fit")
    same(fit(rough(), checkpoint=tmp_path / "fit"), expected)


def test_the_checkpoint_changes_nothing(tmp_path):
    same(fit(checkpoint=tmp_path / "fit"), whole())


def test_a_finished_fit_is_read_back_without_a_step(tmp_path):
    path = tmp_path / "fit"
    fit(checkpoint=path)
    before = path.read_bytes()
    idle = QuadraticTrainer()
    idle.run = None
    same(fit(idle, checkpoint=path), whole())
    assert path.read_bytes() == before


def test_progress_goes_to_standard_error_and_only_if_wanted(capfd):
    fit()
    assert capfd.readouterr() == ("", "")
    fit(progress=True, learning_rate=0.001)
    out, err = capfd.readouterr()
    assert out == ""
    assert "500/500" in err
    assert "decay" in err


def result_of(state, elbo, stderr, trainer):
    return GuideFitResult(
        params=trainer.weights(), elbo=elbo, elbo_stderr=stderr, stopped=state.stopped,
        num_steps=state.step, skipped_steps=state.skipped_steps, falls=state.falls,
        losses=tuple(state.losses), windows=tuple(state.windows), warm_start=None, seconds=1.0,
    )  # fmt: skip


def test_a_result_draws_its_phases_and_hides_what_is_long(tmp_path):
    result = result_of(*whole())
    figure = result.plot(tmp_path / "elbo.png")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["total", "path", "decay", f"kept: {result.elbo:.3f}"]
    assert (tmp_path / "elbo.png").stat().st_size > 1000
    assert "losses" not in repr(result)
    assert "params" not in repr(result)


def test_results_without_a_window_or_a_finite_loss_can_be_drawn():
    result_of(*stopped_after(0, QuadraticTrainer())).plot()
    result_of(*fit(QuadraticTrainer(nan_every=1), num_steps=2000)).plot()
