"""Checkpoint files that are damaged, foreign or from the future; writes that fail."""

import os

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

import pyro_flowkit as fk
from pyro_flowkit import CheckpointError
from pyro_flowkit.laws import Additive
from pyro_flowkit.transforms import MaskedAutoregressive
from tests.pyro.helpers import SMALL, OwnMaskedNet, large


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "flow.safetensors"
    fk.save_flow(large(fk.maf(3, **SMALL)), file)
    return file


def rewrite(path, *, metadata=None, arrays=None):
    """The same file with some of its metadata or arrays changed."""
    with safe_open(path, framework="numpy") as handle:
        old = handle.metadata()
        held = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    held = arrays(held) if arrays else held
    save_file(held, path, {**old, **(metadata or {})})


def first(arrays):
    return sorted(arrays)[0]


DAMAGES = {
    "empty": lambda p: p.write_bytes(b""),
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-10]),
    "cut in the header": lambda p: p.write_bytes(p.read_bytes()[:20]),
    "text": lambda p: p.write_text("no weights here, none at all"),
    "flipped header": lambda p: p.write_bytes(b"\xff" * 8 + p.read_bytes()[8:]),
    "a pickle": lambda p: torch.save({"weight": torch.ones(2)}, p),
    "without metadata": lambda p: save_file({"a": np.ones(2)}, p),
    "of another format": lambda p: rewrite(p, metadata={"format": "pt"}),
    "of no version": lambda p: rewrite(p, metadata={"format_version": "new"}),
    "with no spec": lambda p: rewrite(p, metadata={"spec": ""}),
    "with a spec of an unknown kind": lambda p: rewrite(p, metadata={"spec": '{"kind":"magic"}'}),
    "with a spec that is a list": lambda p: rewrite(p, metadata={"spec": "[1]"}),
    "with an array missing": lambda p: rewrite(
        p, arrays=lambda a: {k: v for k, v in a.items() if k != first(a)}
    ),
    "with an array too many": lambda p: rewrite(p, arrays=lambda a: {**a, "more": np.ones(2)}),
    "with another shape": lambda p: rewrite(p, arrays=lambda a: {**a, first(a): np.ones((9, 9))}),
    "with integers": lambda p: rewrite(
        p, arrays=lambda a: {k: v.astype(np.int64) for k, v in a.items()}
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_no_checkpoint_is_refused(path, damage):
    DAMAGES[damage](path)
    with pytest.raises(CheckpointError, match=r"flow.safetensors"):
        fk.load_flow(path)


def test_a_newer_format_says_what_to_do(path):
    rewrite(path, metadata={"format_version": "99"})
    with pytest.raises(CheckpointError, match=r"format 99.*install a newer ppl-flowkit"):
        fk.load_flow(path)


def test_a_missing_file_and_a_folder_are_not_found(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="no checkpoint at"):
            fk.load_flow(place)


def test_a_checkpoint_error_is_a_value_error():
    assert issubclass(CheckpointError, ValueError)


def own_parts():
    net = OwnMaskedNet(3, 1)
    own_layer = MaskedAutoregressive(net, Additive(), (0, 1, 2)).double()
    shift = torch.distributions.transforms.AffineTransform(0.0, 2.0)
    return {
        "a network of one's own": own_layer,
        "such a network inside a composition": fk.compose(fk.lu_linear(3).double(), own_layer),
        "a foreign transform": fk.compose(fk.lu_linear(3), shift),
    }


@pytest.mark.parametrize("kind", own_parts())
def test_a_flow_without_a_spec_is_not_saved(tmp_path, kind):
    with pytest.raises(ValueError, match="no spec and cannot be saved"):
        fk.save_flow(own_parts()[kind], tmp_path / "flow")
    assert list(tmp_path.iterdir()) == []


def test_half_precision_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="expected dtype float32 or float64, got float16"):
        fk.save_flow(fk.lu_linear(3).half(), tmp_path / "flow")
    assert list(tmp_path.iterdir()) == []


def failing(*_args, **_kwargs):
    raise OSError("no space left")


@pytest.mark.parametrize("step", ["fsync", "replace", "fdopen"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch, step):
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing)
        with pytest.raises(OSError, match="no space left"):
            fk.save_flow(large(fk.maf(3, **SMALL), seed=7), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_interruption_while_writing_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fk.save_flow(large(fk.maf(3, **SMALL), seed=7), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        fk.save_flow(fk.lu_linear(3), tmp_path / "none" / "flow")


def test_a_saved_file_replaces_the_old_one(path):
    flow = large(fk.realnvp(2, **SMALL), seed=7)
    fk.save_flow(flow, path)
    assert fk.load_flow(path).spec == flow.spec


def test_a_saved_file_has_the_permissions_of_any_new_file(path, tmp_path):
    other = tmp_path / "plain"
    other.write_bytes(b"")
    assert path.stat().st_mode == other.stat().st_mode
