"""Checkpoint files that are damaged, foreign or from the future; writes that fail."""

import os
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions.transforms import AffineTransform
from safetensors import safe_open
from safetensors.numpy import save_file

import numpyro_flowkit as fk
from numpyro_flowkit import CheckpointError
from numpyro_flowkit.laws import Additive
from numpyro_flowkit.transforms import MaskedAutoregressive
from tests.numpyro.helpers import RECIPES, SMALL, OwnMaskedNet, large, stack


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
    "a pickle": lambda p: p.write_bytes(pickle.dumps({"weight": np.ones(2)})),
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
    with pytest.raises(CheckpointError, match=r"flow\.safetensors"):
        fk.load_flow(path)


def test_a_newer_format_says_what_to_do(path):
    rewrite(path, metadata={"format_version": "99"})
    with pytest.raises(CheckpointError, match=r"format 99.*install a newer ppl-flowkit"):
        fk.load_flow(path)


def test_a_missing_file_and_a_folder_are_not_found(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="no checkpoint at"):
            fk.load_flow(place)


def own_parts():
    own_layer = MaskedAutoregressive(OwnMaskedNet(3, 1), Additive(), (0, 1, 2))
    return {
        "a network of one's own": own_layer,
        "such a network inside a composition": fk.compose(large(fk.lu_linear(3)), own_layer),
        "a foreign transform": fk.compose(large(fk.lu_linear(3)), AffineTransform(0.0, 2.0)),
    }


@pytest.mark.parametrize("kind", own_parts())
def test_a_flow_without_a_spec_is_not_saved(tmp_path, kind):
    with pytest.raises(ValueError, match="no spec and cannot be saved"):
        fk.save_flow(own_parts()[kind], tmp_path / "flow")
    assert list(tmp_path.iterdir()) == []


def test_a_batch_of_flows_is_not_saved_but_each_of_them_is(tmp_path):
    one, two = (large(fk.maf(3, **SMALL), seed=seed) for seed in (0, 1))
    flows = stack(one, two)
    with pytest.raises(ValueError, match=r"expected a single flow, got a batch of shape \(2,\)"):
        fk.save_flow(flows, tmp_path / "flow")
    assert list(tmp_path.iterdir()) == []
    fk.save_flow(jax.tree.map(lambda leaf: leaf[1], flows), tmp_path / "flow")
    assert fk.load_flow(tmp_path / "flow") == two


def test_other_precisions_are_not_saved(tmp_path):
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), large(fk.lu_linear(3)))
    with pytest.raises(ValueError, match="expected dtype float32 or float64, got float16"):
        fk.save_flow(half, tmp_path / "flow")
    assert list(tmp_path.iterdir()) == []


def failing(*_args, **_kwargs):
    raise OSError("no space left")


def interrupted(*_args, **_kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize("fault", [failing, interrupted])
@pytest.mark.parametrize("step", ["fsync", "replace", "fdopen"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch, step, fault):
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fault)
        with pytest.raises((OSError, KeyboardInterrupt)):
            fk.save_flow(large(fk.maf(3, **SMALL), seed=7), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        fk.save_flow(large(fk.lu_linear(3)), tmp_path / "none" / "flow")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_save_flow_and_load_flow_keep_every_number(name, dtype, tmp_path):
    flow = large(RECIPES[name](4), dtype=dtype)
    fk.save_flow(flow, tmp_path / "flow.safetensors")
    again = fk.load_flow(str(tmp_path / "flow.safetensors"))
    assert again == flow
    assert {leaf.dtype for leaf in jax.tree.leaves(again)} <= {np.dtype(dtype)}


def test_a_saved_file_replaces_the_old_one(path):
    flow = large(fk.realnvp(2, **SMALL), seed=7)
    fk.save_flow(flow, path)
    assert fk.load_flow(path) == flow
