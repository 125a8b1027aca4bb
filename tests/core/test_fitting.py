"""The loop of a fit: what is kept, when it stops, and that an interruption changes nothing."""

import math

import numpy as np
import pytest

from flowkit_core.fitting import FitResult
from tests.core.fake_trainer import MeanTrainer, ScriptedTrainer, fit_settings

NAN, INF = math.nan, math.inf


def run(train, held_out=None, **changes):
    """Final state, why it ended and the weight kept (the number of epochs behind it)."""
    trainer = ScriptedTrainer(train, held_out)
    state, stopped = trainer.fit(fit_settings(num_epochs=len(train), **changes))
    return state, stopped, trainer.epoch


def test_a_fit_finds_the_mean():
    settings = fit_settings(num_epochs=60)
    trainer = MeanTrainer(settings)
    state, stopped = trainer.fit(settings)
    np.testing.assert_allclose(trainer.weight, trainer.rows.mean(0), atol=0.1)
    assert (stopped, state.epoch, state.skipped_steps) == ("epochs", 60, 60)
    assert len(state.train_losses) == len(state.validation_losses) == 60
    trainer.set_weights(state.best)
    assert trainer.held_out_loss() == min(state.validation_losses)


def test_the_weights_of_the_best_epoch_are_kept():
    state, stopped, kept = run([5.0, 4.0, 3.0, 2.0], [5.0, 3.0, 4.0, 6.0])
    assert (state.best_epoch, kept, stopped) == (1, 2, "epochs")
    assert state.best["epoch"].tolist() == [2]


def test_of_equal_losses_the_first_is_kept():
    state, _, kept = run([5.0, 4.0, 3.0], [2.0, 2.0, 2.0])
    assert (state.best_epoch, kept) == (0, 1)


def test_without_held_out_rows_the_training_loss_decides():
    state, _, kept = run([5.0, 2.0, 3.0])
    assert (state.best_epoch, kept) == (1, 2)
    assert state.validation_losses == []


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_it_stops_after_that_many_epochs_without_a_better_one(patience):
    held_out = [5.0, 3.0, 4.0, 4.0, 4.0, 4.0, 1.0]
    state, stopped, kept = run([1.0] * 7, held_out, patience=patience)
    assert (stopped, state.epoch, kept) == ("patience", 2 + patience, 2)


def test_patience_starts_anew_with_every_better_epoch():
    state, stopped, _ = run([1.0] * 6, [5.0, 6.0, 4.0, 6.0, 3.0, 6.0], patience=2)
    assert (stopped, state.epoch, state.best_epoch) == ("epochs", 6, 4)


def test_patience_that_ends_with_the_last_epoch_is_patience():
    assert run([1.0] * 4, [1.0, 2.0, 3.0, 4.0], patience=3)[1] == "patience"


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
def test_a_diverged_epoch_ends_the_fit_and_is_not_kept(loss):
    state, stopped, kept = run([5.0, 4.0, loss, 1.0], [5.0, 4.0, NAN, 1.0])
    assert (stopped, state.epoch, state.best_epoch, kept) == ("diverged", 3, 1, 2)


def test_divergence_in_the_first_epoch_keeps_the_first_weights():
    state, stopped, kept = run([NAN, 1.0], [NAN, 1.0])
    assert (stopped, state.epoch, state.best_epoch, kept) == ("diverged", 1, 0, 0)


def test_a_held_out_loss_that_is_not_finite_does_not_end_the_fit():
    state, stopped, kept = run([5.0, 4.0, 3.0, 2.0], [NAN, 3.0, INF, NAN])
    assert (stopped, state.epoch, state.best_epoch, kept) == ("epochs", 4, 1, 2)
    never, stopped, kept = run([5.0, 4.0], [NAN, NAN])
    assert (stopped, never.best_epoch, kept) == ("epochs", 0, 0)


def same(one, two):
    (state, stopped, trainer), (other, other_stopped, twin) = one, two
    assert stopped == other_stopped
    assert state.train_losses == other.train_losses
    assert state.validation_losses == other.validation_losses
    assert (state.best_epoch, state.epoch) == (other.best_epoch, other.epoch)
    assert state.skipped_steps == other.skipped_steps
    np.testing.assert_array_equal(trainer.weight, twin.weight)


def fit(settings, checkpoint=None, interrupt_at=None):
    """A fit by a new trainer, perhaps interrupted in the middle of an epoch."""
    trainer = MeanTrainer(settings)
    real, done = trainer.train_epoch, []

    def train_epoch(batches, rates):
        if len(done) == interrupt_at:
            real(batches[:1], rates[:1])
            raise KeyboardInterrupt
        done.append(1)
        return real(batches, rates)

    trainer.train_epoch = train_epoch
    return (*trainer.fit(settings, checkpoint), trainer)


@pytest.mark.parametrize("validation", [0.2, 0.0])
@pytest.mark.parametrize("epochs", range(9))
def test_a_fit_interrupted_at_any_epoch_ends_the_same(tmp_path, epochs, validation):
    settings = fit_settings(validation=validation)
    path = tmp_path / "fit"
    if epochs < 8:
        with pytest.raises(KeyboardInterrupt):
            fit(settings, path, interrupt_at=epochs)
    else:
        fit(settings, path)
    assert path.exists() == (epochs > 0)
    same(fit(settings, path), fit(settings))


def test_a_fit_interrupted_in_every_epoch_ends_the_same(tmp_path):
    settings = fit_settings()
    for _ in range(7):
        with pytest.raises(KeyboardInterrupt):
            fit(settings, tmp_path / "fit", interrupt_at=1)
    same(fit(settings, tmp_path / "fit"), fit(settings))


ENDS = {
    "epochs": ([5.0, 4.0, 3.0], {}),
    "patience": ([5.0, 6.0, 7.0, 1.0], {"patience": 2}),
    "diverged": ([5.0, NAN, 1.0], {}),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_finished_fit_is_read_back_without_training(tmp_path, end):
    losses, changes = ENDS[end]
    settings = fit_settings(num_epochs=len(losses), **changes)
    state, stopped = ScriptedTrainer(losses).fit(settings, tmp_path / "fit")
    before = (tmp_path / "fit").read_bytes()
    idle = ScriptedTrainer([])  # to train would be an IndexError
    again, why = idle.fit(settings, tmp_path / "fit")
    assert stopped == why == end
    assert str(again.train_losses) == str(state.train_losses)
    assert again.best_epoch == state.best_epoch
    assert idle.epoch == state.best_epoch + 1
    assert (tmp_path / "fit").read_bytes() == before


def test_progress_goes_to_standard_error_and_only_if_wanted(capfd):
    settings = fit_settings()
    MeanTrainer(settings).fit(settings)
    assert capfd.readouterr() == ("", "")
    MeanTrainer(settings).fit(settings, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "8/8" in err


def test_a_result_names_the_best_loss_and_hides_what_is_long():
    result = FitResult(object(), (3.0, 2.0, 1.0), (3.0, 1.5, 2.5), 1, "epochs", 0)
    assert result.best_loss == 1.5
    assert FitResult(object(), (3.0, 2.0, 1.0), (), 2, "epochs", 0).best_loss == 1.0
    assert repr(result) == "FitResult(best_epoch=1, stopped='epochs', skipped_steps=0)"
