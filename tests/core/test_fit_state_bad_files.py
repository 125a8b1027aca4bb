"""Files that are no state of a fit: a CheckpointError that names the file, and nothing else."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from flowkit_core import CheckpointError
from flowkit_core.fitting import FitState
from tests.core.fake_trainer import MeanTrainer, fit_settings

SETTINGS = fit_settings()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "fit.safetensors"
    MeanTrainer(SETTINGS).fit(SETTINGS, file)
    return file


def rewrite(path, *, arrays=None, **metadata):
    """The same file with some arrays or metadata changed, or (None) left out."""
    with safe_open(path, framework="numpy") as handle:
        held = {**handle.metadata(), **metadata}
        old = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    held = {k: v for k, v in held.items() if v is not None}
    save_file(old if arrays is None else arrays(old), path, held)


HISTORY = {
    "epoch": 2,
    "train_losses": [2.0, 1.0],
    "validation_losses": [2.0, 1.0],
    "best_epoch": 1,
    "skipped_steps": 0,
}


def history(**changes):
    return json.dumps({k: v for k, v in {**HISTORY, **changes}.items() if v is not None})


GARBLED = {
    "no format": {"format": None},
    "other format": {"format": "ppl-flowkit/flow"},
    "no version": {"format_version": None},
    "newer": {"format_version": "2"},
    "no settings": {"settings": None},
    "empty settings": {"settings": ""},
    "settings of words": {"settings": "{batch"},
    "settings of a list": {"settings": "[1, 2]"},
    "settings without end": {"settings": "[" * 10**5},
    "no history": {"history": None},
    "history of words": {"history": "long ago"},
    "history of a number": {"history": "3"},
    "history with less": {"history": history(epoch=None)},
    "history with more": {"history": history(weather=1)},
    "epoch of words": {"history": history(epoch="two")},
    "epoch below zero": {"history": history(epoch=-1)},
    "epoch and losses": {"history": history(epoch=3)},
    "best to come": {"history": history(best_epoch=2)},
    "best before": {"history": history(best_epoch=-2)},
    "skipped": {"history": history(skipped_steps=1.5)},
    "losses of words": {"history": history(train_losses=["a", "b"])},
    "losses of a number": {"history": history(train_losses=1.0)},
    "validation short": {"history": history(validation_losses=[1.0])},
}


def test_the_history_that_the_garbled_ones_differ_from_is_read(path):
    rewrite(path, history=history())
    assert FitState.read(path, SETTINGS, 30).train_losses == [2.0, 1.0]
    rewrite(path, history=history(validation_losses=[], best_epoch=-1))
    assert FitState.read(path, SETTINGS, 30).best_epoch == -1


@pytest.mark.parametrize("case", GARBLED)
def test_garbled_metadata_are_refused(path, case):
    rewrite(path, **GARBLED[case])
    with pytest.raises(CheckpointError, match="state of a fit") as caught:
        FitState.read(path, SETTINGS, 30)
    assert str(path) in str(caught.value)


def test_arrays_that_belong_to_no_part_are_refused(path):
    rewrite(path, arrays=lambda old: {**old, "elsewhere/weight": np.ones(2)})
    with pytest.raises(CheckpointError, match="one of 'best', 'current', got 'elsewhere'"):
        FitState.read(path, SETTINGS, 30)


def test_damaged_files_are_refused(path):
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged, or no safetensors file"):
            FitState.read(path, SETTINGS, 30)


def test_flipped_bytes_are_refused_or_harmless(path):
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(400):
        damaged = bytearray(content)
        letter = b'0123456789-.,:[]{}"NaF'[rng.integers(22)] if k % 2 else rng.integers(256)
        damaged[rng.integers(8, header)] = letter
        path.write_bytes(damaged)
        try:
            FitState.read(path, SETTINGS, 30)
        except CheckpointError:
            refused += 1
        except ValueError as error:  # readable, but of other settings
            if "another fit" not in str(error):
                raise
    assert refused > 100


def test_a_missing_file_and_a_folder_are_not_found(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="no checkpoint at"):
            FitState.read(place, SETTINGS, 30)
