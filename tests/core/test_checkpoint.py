"""Checkpoints: what is read is what was written; a write that fails changes nothing."""

import os
import stat

import numpy as np
import pytest
from safetensors import safe_open

from flowkit_core import recipes as r
from flowkit_core.checkpoint import read_checkpoint, write_checkpoint
from flowkit_core.safe_file import replace_file
from flowkit_core.specs import FlowSpec
from tests.cases import CASES, arrays_for

SPEC = r.maf(3, num_layers=2, hidden_dims=(6,))


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "flow.safetensors"
    write_checkpoint(file, SPEC, arrays_for(SPEC))
    return file


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
def test_what_is_read_is_what_was_written_bit_by_bit(case, dtype, tmp_path):
    spec, arrays = CASES[case], arrays_for(CASES[case], dtype=dtype)
    write_checkpoint(tmp_path / "flow", spec, arrays)
    got_spec, got = read_checkpoint(tmp_path / "flow")
    assert got_spec == spec
    assert set(got) == set(arrays)
    for name, array in got.items():
        assert array.dtype == dtype
        assert array.shape == arrays[name].shape
        assert array.tobytes() == arrays[name].tobytes()


def test_special_numbers_survive(tmp_path):
    spec = r.lu_linear(2)
    arrays = arrays_for(spec)
    tiny = np.finfo(np.float64).smallest_subnormal
    arrays["lower"][:] = [[np.nan, np.inf], [-0.0, tiny]]
    write_checkpoint(tmp_path / "flow", spec, arrays)
    assert read_checkpoint(tmp_path / "flow")[1]["lower"].tobytes() == arrays["lower"].tobytes()


def test_arrays_of_any_layout_are_written_in_order(tmp_path):
    spec = r.lu_linear(3)
    arrays = arrays_for(spec)
    views = {**arrays, "lower": np.asfortranarray(arrays["lower"]), "shift": np.arange(6.0)[::2]}
    write_checkpoint(tmp_path / "flow", spec, views)
    _, got = read_checkpoint(tmp_path / "flow")
    np.testing.assert_array_equal(got["lower"], arrays["lower"])
    np.testing.assert_array_equal(got["shift"], [0.0, 2.0, 4.0])


def test_what_is_read_belongs_to_the_reader(path):
    _, arrays = read_checkpoint(path)
    before = path.read_bytes()
    for array in arrays.values():
        array += 1
    assert path.read_bytes() == before


def test_the_file_names_its_format_and_holds_the_spec_as_text(path):
    with safe_open(path, framework="numpy") as handle:
        metadata = handle.metadata()
    assert (metadata["format"], metadata["format_version"]) == ("ppl-flowkit/flow", "1")
    assert FlowSpec.from_json(metadata["spec"]) == SPEC


def test_paths_may_be_text(path):
    assert read_checkpoint(str(path))[0] == SPEC
    write_checkpoint(str(path), SPEC, arrays_for(SPEC))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_name_without_folder_is_written_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint("flow", SPEC, arrays_for(SPEC))
    assert [p.name for p in tmp_path.iterdir()] == ["flow"]
    assert read_checkpoint("flow")[0] == SPEC


def lacking(arrays):
    return {k: v for k, v in arrays.items() if k != "shift"}


BAD_ARRAYS = {
    "missing": (lacking, r"missing \['shift'\], not expected \[\]"),
    "surplus": (lambda a: {**a, "more": np.ones(2)}, r"missing \[\], not expected \['more'\]"),
    "shape": (lambda a: {**a, "shift": np.ones(3)}, r"shift: expected shape \(2,\), got \(3,\)"),
    "axes": (lambda a: {**a, "shift": np.ones((2, 1))}, r"shape \(2,\), got \(2, 1\)"),
    "half": (lambda a: {**a, "shift": np.ones(2, np.float16)}, "float32 or float64, got float16"),
    "integers": (lambda a: {**a, "shift": np.ones(2, np.int64)}, "or float64, got int64"),
    "complex": (lambda a: {**a, "shift": np.ones(2, complex)}, "or float64, got complex128"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_do_not_fit_are_not_written(case, tmp_path):
    change, message = BAD_ARRAYS[case]
    spec = r.lu_linear(2)
    with pytest.raises(ValueError, match=f"arrays: .*{message}"):
        write_checkpoint(tmp_path / "flow", spec, change(arrays_for(spec)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["open", "fdopen", "fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()], ids=type)
def test_a_crash_at_any_step_leaves_the_old_file_and_nothing_else(path, monkeypatch, step, error):
    before = path.read_bytes()

    def crash(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, step, crash)
        with pytest.raises(type(error)):
            write_checkpoint(path, SPEC, arrays_for(SPEC, seed=7))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_content_reaches_the_disk_before_the_name(path, monkeypatch):
    steps = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)

        def spy(*args, step=step, real=real, **kwargs):
            steps.append(step)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, step, spy)
    write_checkpoint(path, SPEC, arrays_for(SPEC))
    assert steps == ["fsync", "replace"]


def test_a_missing_folder_and_a_folder_in_the_way_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_checkpoint(tmp_path / "none" / "flow", SPEC, arrays_for(SPEC))
    (tmp_path / "flow").mkdir()
    with pytest.raises(OSError, match="flow"):
        write_checkpoint(tmp_path / "flow", SPEC, arrays_for(SPEC))
    assert [p.name for p in tmp_path.iterdir()] == ["flow"]
    assert list((tmp_path / "flow").iterdir()) == []


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="the superuser may write")
def test_a_folder_that_is_read_only_is_an_os_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        write_checkpoint(tmp_path / "flow", SPEC, arrays_for(SPEC))


needs_permissions = pytest.mark.skipif(os.name == "nt", reason="no permission bits")


def mode(file):
    return stat.S_IMODE(file.stat().st_mode)


@needs_permissions
@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path, umask, expected):
    old = os.umask(umask)
    try:
        replace_file(tmp_path / "flow", b"content")
    finally:
        os.umask(old)
    assert mode(tmp_path / "flow") == expected


@needs_permissions
@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o666])
def test_a_file_that_is_replaced_keeps_its_permissions(path, permissions):
    path.chmod(permissions)
    write_checkpoint(path, SPEC, arrays_for(SPEC, seed=7))
    assert mode(path) == permissions
