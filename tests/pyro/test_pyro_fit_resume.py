"""Interrupted fits go on where they stopped, exactly."""

import pytest
import torch

import pyro_flowkit as fk
from flowkit_core import CheckpointError
from pyro_flowkit import density as density_module
from tests.pyro.helpers import SMALL, points

SETTINGS = {"num_epochs": 6, "batch_size": 16, "learning_rate": 0.02, "progress": False}


def rows():
    return points(60, 3) @ points(3, 3, seed=2) + 1


def fresh():
    return fk.realnvp(3, **SMALL)


def interrupt_after(monkeypatch, epochs):
    """A KeyboardInterrupt in the epoch that follows ``epochs`` whole ones."""
    real = density_module._Trainer.train_epoch
    done = []

    def train_epoch(self, batches, rates):
        if len(done) == epochs:
            real(self, batches[:1], rates[:1])  # in the middle of the epoch
            raise KeyboardInterrupt
        done.append(1)
        return real(self, batches, rates)

    monkeypatch.setattr(density_module._Trainer, "train_epoch", train_epoch)


def interrupted(monkeypatch, path, epochs, **kwargs):
    with monkeypatch.context() as patch:
        interrupt_after(patch, epochs)
        with pytest.raises(KeyboardInterrupt):
            fk.fit_density(fresh(), rows(), checkpoint=path, **{**SETTINGS, **kwargs})


def same(one, two):
    assert one.train_losses == two.train_losses
    assert one.validation_losses == two.validation_losses
    assert (one.best_epoch, one.stopped) == (two.best_epoch, two.stopped)
    for a, b in zip(one.flow.parameters(), two.flow.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("epochs", [1, 3, 5])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_resumed_fit_equals_an_uninterrupted_one(monkeypatch, tmp_path, epochs, schedule):
    path = tmp_path / "fit.safetensors"
    whole = fk.fit_density(fresh(), rows(), schedule=schedule, **SETTINGS)
    interrupted(monkeypatch, path, epochs, schedule=schedule)
    resumed = fk.fit_density(fresh(), rows(), schedule=schedule, checkpoint=path, **SETTINGS)
    same(resumed, whole)


def test_a_fit_interrupted_twice_equals_an_uninterrupted_one(monkeypatch, tmp_path):
    path = tmp_path / "fit.safetensors"
    whole = fk.fit_density(fresh(), rows(), **SETTINGS)
    interrupted(monkeypatch, path, 2)
    interrupted(monkeypatch, path, 1)
    same(fk.fit_density(fresh(), rows(), checkpoint=path, **SETTINGS), whole)


def test_a_resumed_fit_with_patience_equals_an_uninterrupted_one(monkeypatch, tmp_path):
    path = tmp_path / "fit.safetensors"
    hasty = {"patience": 3, "learning_rate": 0.3, "num_epochs": 40}
    whole = fk.fit_density(fresh(), rows(), **{**SETTINGS, **hasty})
    assert whole.stopped == "patience"
    interrupted(monkeypatch, path, len(whole.train_losses) - 1, **hasty)
    same(fk.fit_density(fresh(), rows(), checkpoint=path, **{**SETTINGS, **hasty}), whole)


def test_interruption_before_the_first_epoch_leaves_no_file(monkeypatch, tmp_path):
    path = tmp_path / "fit.safetensors"
    interrupted(monkeypatch, path, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_fit_is_read_back_without_training(monkeypatch, tmp_path):
    path = tmp_path / "fit.safetensors"
    whole = fk.fit_density(fresh(), rows(), checkpoint=path, **SETTINGS)
    interrupt_after(monkeypatch, 0)  # any epoch would raise
    same(fk.fit_density(fresh(), rows(), checkpoint=path, **SETTINGS), whole)


def test_the_checkpoint_changes_nothing(tmp_path):
    with_file = fk.fit_density(fresh(), rows(), checkpoint=tmp_path / "fit", **SETTINGS)
    same(with_file, fk.fit_density(fresh(), rows(), **SETTINGS))


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
    fk.fit_density(fresh(), rows(), checkpoint=path, **{**SETTINGS, "num_epochs": 1})
    changed = {**SETTINGS, "num_epochs": 1, setting: OTHER[setting]}
    with pytest.raises(ValueError, match=rf"another fit; expected .*{setting}.*, got "):
        fk.fit_density(fresh(), rows(), checkpoint=path, **changed)


def test_a_checkpoint_of_other_rows_is_refused(tmp_path):
    path = tmp_path / "fit.safetensors"
    fk.fit_density(fresh(), rows(), checkpoint=path, **SETTINGS)
    with pytest.raises(ValueError, match=r"another fit; expected .*num_rows"):
        fk.fit_density(fresh(), rows()[:50], checkpoint=path, **SETTINGS)


def test_a_checkpoint_of_another_flow_is_refused_and_the_flow_left_alone(tmp_path):
    path = tmp_path / "fit.safetensors"
    fk.fit_density(fresh(), rows(), checkpoint=path, **SETTINGS)
    for other in (
        fk.maf(3, **SMALL),
        fk.realnvp(3, num_layers=2, hidden_dims=(5,)),
        fk.realnvp(3, activation="tanh", **SMALL),
        fresh().double(),
    ):
        before = [p.detach().clone() for p in other.parameters()]
        with pytest.raises(
            ValueError, match=r"it belongs to (another fit; .*'flow'|a fit of another flow)"
        ):
            fk.fit_density(other, rows(), checkpoint=path, **SETTINGS)
        assert all(torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))


FOREIGN = {
    "text": b"these are no weights",
    "nothing": b"",
    "a flow": None,
    "half": None,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_no_fit_is_refused_and_kept(tmp_path, kind):
    path = tmp_path / "fit.safetensors"
    if kind == "a flow":
        fk.save_flow(fresh(), path)
    elif kind == "half":
        fk.fit_density(fresh(), rows(), checkpoint=path, **SETTINGS)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(FOREIGN[kind])
    before = path.read_bytes()
    with pytest.raises(CheckpointError):
        fk.fit_density(fresh(), rows(), checkpoint=path, **SETTINGS)
    assert path.read_bytes() == before
