"""The file of an unfinished fit: read back exactly, or refused in words."""

import json
import math
import os

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from flowkit_core.fitting import FitState
from tests.core.fake_trainer import MeanTrainer, fit_settings

SETTINGS = fit_settings()
STEPS = np.array(7, dtype=np.int32)


def state():
    return FitState(
        epoch=3,
        train_losses=[2.0, math.nan, 1 / 3],
        validation_losses=[1e-300, math.inf, -1.0],
        best_epoch=2,
        skipped_steps=4,
        current={"weight": np.arange(6.0).reshape(2, 3), "a/b": np.ones(1, np.float32), "n": STEPS},
        best={"weight": np.ones((2, 3))},
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "fit.safetensors"
    state().write(file, SETTINGS, num_rows=30)
    return file


def rewrite(path, *, arrays=None, **metadata):
    """The same file with some arrays or metadata changed, or (None) left out."""
    with safe_open(path, framework="numpy") as handle:
        held = {**handle.metadata(), **metadata}
        old = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    held = {k: v for k, v in held.items() if v is not None}
    save_file(old if arrays is None else arrays(old), path, held)


def test_what_is_read_is_what_was_written(path):
    got, expected = FitState.read(path, SETTINGS, 30), state()
    for name in ("epoch", "best_epoch", "skipped_steps"):
        assert getattr(got, name) == getattr(expected, name)
    np.testing.assert_array_equal(got.train_losses, expected.train_losses)
    np.testing.assert_array_equal(got.validation_losses, expected.validation_losses)
    for part in ("current", "best"):
        assert set(getattr(got, part)) == set(getattr(expected, part))
        for name, array in getattr(got, part).items():
            wanted = np.asarray(getattr(expected, part)[name])
            assert array.dtype == wanted.dtype
            np.testing.assert_array_equal(array.reshape(wanted.shape), wanted)


def test_a_crash_while_writing_leaves_the_old_state(path, monkeypatch):
    before = path.read_bytes()

    def crash(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash)
        with pytest.raises(OSError, match="no space left"):
            FitState(epoch=1, train_losses=[1.0]).write(path, SETTINGS, 30)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


OTHER = {
    "validation": 0.3,
    "batch_size": 5,
    "num_epochs": 9,
    "learning_rate": 0.5,
    "schedule": "constant",
    "max_grad_norm": 1.0,
    "patience": 7,
    "seed": 1,
}


@pytest.mark.parametrize("name", OTHER)
def test_other_settings_are_named(path, name):
    old = SETTINGS.to_dict()[name]
    message = f"another fit; expected {{'{name}': {OTHER[name]!r}}}, got {{'{name}': {old!r}}}"
    with pytest.raises(ValueError, match="another fit") as caught:
        FitState.read(path, fit_settings(**{name: OTHER[name]}), 30)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_another_number_of_rows_is_named(path):
    with pytest.raises(ValueError, match=r"expected \{'num_rows': 31\}, got \{'num_rows': 30\}"):
        FitState.read(path, SETTINGS, 31)


def test_a_setting_that_is_not_known_is_named(path):
    known = json.dumps({**SETTINGS.to_dict(), "num_rows": 30, "flow": "", "warmup": 5})
    rewrite(path, settings=known)
    with pytest.raises(ValueError, match=r"expected \{'warmup': None\}, got \{'warmup': 5\}"):
        FitState.read(path, SETTINGS, 30)


def flat(trainer):
    return {"weight": trainer.weight.ravel()[:2].copy()}


def renamed(trainer):
    return {"bias": trainer.weight.copy()}


def single(trainer):
    return {"weight": trainer.weight.astype(np.float32)}


@pytest.mark.parametrize("weights", [flat, renamed, single])
def test_a_state_of_another_flow_is_refused_before_anything_is_changed(tmp_path, weights):
    MeanTrainer(SETTINGS).fit(SETTINGS, tmp_path / "fit")
    before = (tmp_path / "fit").read_bytes()
    other = MeanTrainer(SETTINGS)
    other.weights = lambda: weights(other)
    with pytest.raises(ValueError, match=r"another flow; expected the weights .*, got "):
        other.fit(SETTINGS, tmp_path / "fit")
    np.testing.assert_array_equal(other.weight, np.zeros(3))
    assert (tmp_path / "fit").read_bytes() == before
