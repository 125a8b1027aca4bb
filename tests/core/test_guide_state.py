"""The file of an unfinished fit of a guide: read back exactly, or refused in words."""

import json
import math

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from flowkit_core import CheckpointError
from flowkit_core.fitting import GuideFitState
from flowkit_core.fitting.guide_state import WindowRecord
from tests.core.fake_guide_trainer import QuadraticTrainer, guide_settings

SETTINGS = guide_settings()
IDENTITY = SETTINGS.to_dict()


def state():
    return GuideFitState(
        phase="path", rate=1 / 3, step=3, phase_start=1, phase_window=1, decay_end=0, falls=1,
        skipped_steps=2, ending="time", stopped="", best_median=-math.inf,
        losses=[math.nan, -math.inf, 1e-300],
        windows=[WindowRecord("total", 0, math.inf, 0.0), WindowRecord("path", 1, 1 / 3, 0.1)],
        current={"a/b": np.ones(1, np.float32), "n": np.array(7, np.int32)},
        best={"weight": np.arange(6.0).reshape(2, 3)},
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "fit.safetensors"
    state().write(file, IDENTITY)
    return file


def rewrite(path, *, arrays=None, **metadata):
    """The same file with some arrays or metadata changed, or (None) left out."""
    with safe_open(path, framework="numpy") as handle:
        held = {**handle.metadata(), **metadata}
        old = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    held = {k: v for k, v in held.items() if v is not None}
    save_file(old if arrays is None else arrays(old), path, held)


def test_what_is_read_is_what_was_written(path):
    got, expected = GuideFitState.read(path, IDENTITY), state()
    for name in set(GuideFitState.__dataclass_fields__) - {"losses", "current", "best"}:
        assert getattr(got, name) == getattr(expected, name)
    np.testing.assert_array_equal(got.losses, expected.losses)
    for part in ("current", "best"):
        assert set(getattr(got, part)) == set(getattr(expected, part))
        for name, array in getattr(got, part).items():
            np.testing.assert_array_equal(array, getattr(expected, part)[name])
            assert array.dtype == getattr(expected, part)[name].dtype


OTHER = {
    "num_steps": 501, "num_particles": 5, "learning_rate": 0.5, "max_grad_norm": 1.0,
    "gradient": "total", "warm_start": "laplace", "num_starts": 2, "seed": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_a_checkpoint_of_other_settings_is_refused_and_kept(tmp_path, name):
    path = tmp_path / "fit"
    QuadraticTrainer().fit(checkpoint=path)
    before = path.read_bytes()
    other = QuadraticTrainer()
    with pytest.raises(ValueError, match="another fit") as caught:
        other.fit(checkpoint=path, **{name: OTHER[name]})
    assert f"expected {{{name!r}: {OTHER[name]!r}}}, got {{{name!r}: " in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert other.windows == []


LAYOUTS = {
    "shorter": lambda weight: {"weight": weight[:1]},
    "renamed": lambda weight: {"bias": weight},
    "single": lambda weight: {"weight": weight.astype(np.float32)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_of_another_guide_is_refused_before_anything_is_changed(tmp_path, layout):
    path = tmp_path / "fit"
    QuadraticTrainer().fit(checkpoint=path)
    other = QuadraticTrainer()
    other.weights = lambda: LAYOUTS[layout](other.weight)
    with pytest.raises(ValueError, match=r"a fit of another guide; expected the weights .*, got "):
        other.fit(checkpoint=path)
    np.testing.assert_array_equal(other.weight, 0)


@pytest.mark.parametrize("lost", ["current/momentum", "current/weight", "current/losses"])
def test_a_checkpoint_without_all_of_its_arrays_is_refused(tmp_path, lost):
    path = tmp_path / "fit"
    QuadraticTrainer().fit(checkpoint=path)
    rewrite(path, arrays=lambda old: {k: v for k, v in old.items() if k != lost})
    with pytest.raises(CheckpointError, match="expected") as caught:
        QuadraticTrainer().fit(checkpoint=path)
    assert str(path) in str(caught.value)


def history(**changes):
    """The history in words, with some entries changed, or (None) left out."""
    entries = {
        "phase": "path", "rate": 0.1, "step": 3, "phase_start": 1, "phase_window": 1,
        "decay_end": 0, "falls": 0, "skipped_steps": 0, "ending": "steps", "stopped": "",
        "best_median": 1.0, "windows": [window()],
    }  # fmt: skip
    return json.dumps({k: v for k, v in {**entries, **changes}.items() if v is not None})


def window(**changes):
    entries = {"phase": "total", "first_step": 0, "median": 1.0, "error": 0.1, **changes}
    return {k: v for k, v in entries.items() if v is not None}


def test_the_history_that_the_garbled_ones_differ_from_is_read(path):
    rewrite(path, history=history())
    assert GuideFitState.read(path, IDENTITY).windows == [WindowRecord("total", 0, 1.0, 0.1)]


GARBLED = {
    "no format": {"format": None},
    "a fit of a density": {"format": "ppl-flowkit/fit"},
    "newer": {"format_version": "2"},
    "no settings": {"settings": None},
    "settings of words": {"settings": "{batch"},
    "settings of a list": {"settings": "[1, 2]"},
    "settings without end": {"settings": "[" * 10**5},
    "no history": {"history": None},
    "history of a number": {"history": "3"},
    "history with less": {"history": history(step=None)},
    "history with more": {"history": history(weather=1)},
    "step of words": {"history": history(step="two")},
    "step below zero": {"history": history(step=-1)},
    "step of truth": {"history": history(step=True)},
    "falls of parts": {"history": history(falls=1.5)},
    "rate of words": {"history": history(rate="fast")},
    "rate of NaN": {"history": history(rate=math.nan)},
    "unknown phase": {"history": history(phase="moon")},
    "unknown end": {"history": history(stopped="bored")},
    "unknown ending": {"history": history(ending="diverged")},
    "median of words": {"history": history(best_median="low")},
    "windows of a number": {"history": history(windows=3)},
    "a window of a number": {"history": history(windows=[3])},
    "a window with less": {"history": history(windows=[window(error=None)])},
    "a window with more": {"history": history(windows=[window(weather=1)])},
    "a window of another phase": {"history": history(windows=[window(phase="moon")])},
    "a window of words": {"history": history(windows=[window(median="low")])},
}


@pytest.mark.parametrize("case", GARBLED)
def test_garbled_metadata_are_refused(path, case):
    rewrite(path, **GARBLED[case])
    with pytest.raises(CheckpointError, match="state of a fit") as caught:
        GuideFitState.read(path, IDENTITY)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("losses", [None, np.zeros(2), np.zeros((3, 1))])
def test_losses_that_are_not_one_for_each_step_are_refused(path, losses):
    def change(old):
        kept = {k: v for k, v in old.items() if k != "current/losses"}
        return kept if losses is None else {**kept, "current/losses": losses}

    rewrite(path, arrays=change)
    with pytest.raises(CheckpointError, match="expected a loss of every step"):
        GuideFitState.read(path, IDENTITY)


def test_arrays_that_belong_to_no_part_are_refused(path):
    rewrite(path, arrays=lambda old: {**old, "elsewhere/weight": np.ones(2)})
    with pytest.raises(CheckpointError, match="one of 'best', 'current', got 'elsewhere'"):
        GuideFitState.read(path, IDENTITY)


def test_damaged_files_are_refused(path):
    content = path.read_bytes()
    for length in range(0, len(content), 11):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged, or no safetensors file"):
            GuideFitState.read(path, IDENTITY)


def test_flipped_bytes_are_refused_or_harmless(tmp_path):
    path = tmp_path / "fit"
    QuadraticTrainer().fit(checkpoint=path)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(300):
        damaged = bytearray(content)
        letter = b'0123456789-.,:[]{}"NaF'[rng.integers(22)] if k % 2 else rng.integers(256)
        damaged[rng.integers(8, header)] = letter
        path.write_bytes(damaged)
        try:
            GuideFitState.read(path, IDENTITY)
        except CheckpointError:
            refused += 1
        except ValueError as error:  # readable, but of other settings
            if "another fit" not in str(error):
                raise
    assert refused > 50
