"""Interrupted fits go on where they stopped, exactly."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import numpyro_flowkit as fk
from flowkit_core import CheckpointError
from numpyro_flowkit import density as density_module
from tests.numpyro.models import SMALL, assert_same_leaves

SETTINGS = {"num_epochs": 6, "batch_size": 16, "learning_rate": 0.02, "progress": False}
START = fk.realnvp(3, **SMALL)(jax.random.key(0))


def rows():
    rng = np.random.default_rng(1)
    return rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)) + 1


def fit(flow=START, data=None, **kwargs):
    return fk.fit_density(flow, rows() if data is None else data, **{**SETTINGS, **kwargs})


def interrupt_after(monkeypatch, epochs):
    """A KeyboardInterrupt in the epoch that follows ``epochs`` whole ones."""
    real = density_module._Trainer.train_epoch
    done = []

    def train_epoch(self, batches, rates):
        if len(done) == epochs:
            real(self, batches, rates)  # before its end is written to the file
            raise KeyboardInterrupt
        done.append(1)
        return real(self, batches, rates)

    monkeypatch.setattr(density_module._Trainer, "train_epoch", train_epoch)


def interrupted(monkeypatch, path, epochs, **kwargs):
    with monkeypatch.context() as patch:
        interrupt_after(patch, epochs)
        with pytest.raises(KeyboardInterrupt):
            fit(checkpoint=path, **kwargs)


def assert_same_fits(one, two):
    assert one.train_losses == two.train_losses
    assert one.validation_losses == two.validation_losses
    assert (one.best_epoch, one.stopped, one.skipped_steps) == (
        two.best_epoch, two.stopped, two.skipped_steps
    )  # fmt: skip
    assert_same_leaves(one.flow, two.flow)


@pytest.mark.parametrize("epochs", [1, 3, 5])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_resumed_fit_equals_an_uninterrupted_one(monkeypatch, tmp_path, epochs, schedule):
    path = tmp_path / "fit.safetensors"
    whole = fit(schedule=schedule)
    interrupted(monkeypatch, path, epochs, schedule=schedule)
    assert_same_fits(fit(schedule=schedule, checkpoint=path), whole)


def test_a_fit_of_a_recipes_result_interrupted_twice_equals_an_uninterrupted_one(
    monkeypatch, tmp_path
):
    path = tmp_path / "fit.safetensors"
    recipe = fk.realnvp(3, **SMALL)
    whole = fit(recipe)
    interrupted(monkeypatch, path, 2, flow=recipe)
    interrupted(monkeypatch, path, 1, flow=recipe)
    assert_same_fits(fit(recipe, checkpoint=path), whole)


def test_a_resumed_fit_with_patience_equals_an_uninterrupted_one(monkeypatch, tmp_path):
    path = tmp_path / "fit.safetensors"
    hasty = {"patience": 3, "learning_rate": 0.3, "num_epochs": 40}
    whole = fit(**hasty)
    assert whole.stopped == "patience"
    interrupted(monkeypatch, path, len(whole.train_losses) - 1, **hasty)
    assert_same_fits(fit(checkpoint=path, **hasty), whole)


def test_a_float32_fit_with_a_context_is_resumed(monkeypatch, tmp_path, rng):
    path = tmp_path / "fit.safetensors"
    start = fk.maf(3, context_dim=2, **SMALL)(jax.random.key(0), dtype=np.float32)
    given = {"flow": start, "context": rng.normal(size=(60, 2)), "validation": 0}
    whole = fit(**given)
    interrupted(monkeypatch, path, 3, **given)
    assert_same_fits(fit(checkpoint=path, **given), whole)


def test_interruption_before_the_first_epoch_leaves_no_file(monkeypatch, tmp_path):
    interrupted(monkeypatch, tmp_path / "fit.safetensors", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_fit_is_read_back_without_training(monkeypatch, tmp_path):
    path = tmp_path / "fit.safetensors"
    whole = fit(checkpoint=path)
    interrupt_after(monkeypatch, 0)  # any epoch would raise
    assert_same_fits(fit(checkpoint=path), whole)


def test_a_diverged_fit_stays_diverged(monkeypatch, tmp_path):
    path = tmp_path / "fit.safetensors"
    base = dist.Normal(np.full(3, np.nan), 1.0, validate_args=False).to_event(1)
    whole = fit(base=base, checkpoint=path)
    assert whole.stopped == "diverged"
    interrupt_after(monkeypatch, 0)
    again = fit(base=base, checkpoint=path)
    assert (again.stopped, again.skipped_steps) == ("diverged", whole.skipped_steps)
    assert_same_leaves(again.flow, START)


def test_the_checkpoint_changes_nothing(tmp_path):
    assert_same_fits(fit(checkpoint=tmp_path / "fit"), fit())


OTHER = {
    "num_epochs": 7,
    "batch_size": 8,
    "learning_rate": 0.01,
    "schedule": "constant",
    "seed": 1,
    "validation": 0.2,
    "patience": 2,
    "max_grad_norm": 1.0,
}


@pytest.mark.parametrize("setting", OTHER)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, setting):
    path = tmp_path / "fit.safetensors"
    fit(checkpoint=path, num_epochs=1)
    changed = {"num_epochs": 1, setting: OTHER[setting]}
    with pytest.raises(ValueError, match=rf"another fit; expected .*{setting}.*, got "):
        fit(checkpoint=path, **changed)


def test_a_checkpoint_of_other_rows_is_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    fit(checkpoint=path)
    with pytest.raises(ValueError, match=r"another fit; expected .*num_rows"):
        fit(data=rows()[:50], checkpoint=path)


OTHER_FLOWS = {
    "another recipe": lambda: fk.maf(3, **SMALL),
    "another width": lambda: fk.realnvp(3, num_layers=2, hidden_dims=(5,)),
    "another activation": lambda: fk.realnvp(3, activation="tanh", **SMALL),
    "another precision": lambda: fk.realnvp(3, **SMALL)(jax.random.key(0), dtype=np.float32),
}


@pytest.mark.parametrize("kind", OTHER_FLOWS)
def test_a_checkpoint_of_another_flow_is_refused_and_kept(tmp_path, kind):
    path = tmp_path / "fit.safetensors"
    fit(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"it belongs to (another fit; .*'flow'|a fit of another flow)"
    ):
        fit(OTHER_FLOWS[kind](), checkpoint=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["text", "nothing", "a flow", "half"])
def test_a_file_that_is_no_fit_is_refused_and_kept(tmp_path, kind):
    path = tmp_path / "fit.safetensors"
    if kind == "a flow":
        fk.save_flow(START, path)
    elif kind == "half":
        fit(checkpoint=path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes({"text": b"these are no weights", "nothing": b""}[kind])
    before = path.read_bytes()
    with pytest.raises(CheckpointError):
        fit(checkpoint=path)
    assert path.read_bytes() == before
