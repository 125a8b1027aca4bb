"""Files that are no checkpoint: a CheckpointError that names the file, and nothing else."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from flowkit_core import CheckpointError
from flowkit_core import recipes as r
from flowkit_core.checkpoint import FORMAT, read_checkpoint, write_checkpoint
from tests.cases import arrays_for

SPEC = r.maf(2, num_layers=1, hidden_dims=(3, 4))
METADATA = {"format": FORMAT, "format_version": "1", "spec": SPEC.to_json()}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "flow.safetensors"
    write_checkpoint(file, SPEC, arrays_for(SPEC))
    return file


def write(path, *, arrays=None, **metadata):
    """A file like a checkpoint of SPEC, with some arrays or metadata changed or (None) left out."""
    held = {**METADATA, **metadata}
    held = {k: v for k, v in held.items() if v is not None}
    save_file(arrays_for(SPEC) if arrays is None else arrays, path, held)


def refused(path, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def size_of_header(content):
    return 8 + struct.unpack("<Q", content[:8])[0]


def test_a_checkpoint_error_is_a_value_error():
    assert issubclass(CheckpointError, ValueError)


def test_a_file_cut_short_anywhere_is_refused(path):
    content = path.read_bytes()
    header = size_of_header(content)
    lengths = {*range(40), *range(0, len(content), 23), header - 1, header, len(content) - 1}
    for length in lengths:
        path.write_bytes(content[:length])
        refused(path, "damaged, or no safetensors file")


def test_a_file_with_more_at_its_end_is_refused(path):
    path.write_bytes(path.read_bytes() + b"\0")
    refused(path, "damaged")


def test_flipped_bytes_are_refused_or_harmless(path):
    content = path.read_bytes()
    header = size_of_header(content)
    rng = np.random.default_rng(0)
    outcomes = {"refused": 0, "read": 0}
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(header)] = rng.integers(256)
        path.write_bytes(damaged)
        outcomes[outcome(path)] += 1
    assert outcomes["refused"] > 200


def test_letters_exchanged_in_the_header_are_refused_or_harmless(path):
    content = path.read_bytes()
    header = size_of_header(content)
    rng = np.random.default_rng(1)
    letters = b'0123456789-.,:[]{}"FIUB_ae '
    outcomes = {"refused": 0, "read": 0}
    for _ in range(400):
        damaged = bytearray(content)
        damaged[rng.integers(8, header)] = letters[rng.integers(len(letters))]
        path.write_bytes(damaged)
        outcomes[outcome(path)] += 1
    assert outcomes["refused"] > 200


def outcome(path):
    """Any exception other than a CheckpointError fails the test."""
    try:
        spec, arrays = read_checkpoint(path)
    except CheckpointError:
        return "refused"
    assert {a.name: a.shape for a in spec.arrays()} == {k: v.shape for k, v in arrays.items()}
    assert {str(a.dtype) for a in arrays.values()} <= {"float32", "float64"}
    return "read"


FOREIGN = {
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("these are no weights, none at all"),
    "eight bytes": lambda p: p.write_bytes(b"\xff" * 8),
    "header of a list": lambda p: p.write_bytes(struct.pack("<Q", 8) + b"[1,2,3] "),
    "numpy": lambda p: p.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}" + bytes(100)),
    "zip": lambda p: p.write_bytes(b"PK\x03\x04" + bytes(100)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_safetensors_file_is_refused(path, kind):
    FOREIGN[kind](path)
    refused(path, "damaged, or no safetensors file")


def test_a_foreign_safetensors_file_is_refused(path):
    save_file({"weight": np.ones(3)}, path)
    refused(path, r"no checkpoint of a flow \(format None, not 'ppl-flowkit/flow'\)")
    save_file({"weight": np.ones(3)}, path, {"format": "pt"})
    refused(path, r"no checkpoint of a flow \(format 'pt'")


def test_a_missing_file_and_a_folder_are_not_found(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no checkpoint at {place}"):
            read_checkpoint(place)


BAD_METADATA = {
    "no format": ({"format": None}, "no checkpoint of a flow"),
    "no version": ({"format_version": None}, "unreadable format version ''"),
    "version in words": ({"format_version": "two"}, "unreadable format version 'two'"),
    "version zero": ({"format_version": "0"}, "unreadable format version '0'"),
    "version below zero": ({"format_version": "-1"}, "unreadable format version '-1'"),
    "half a version": ({"format_version": "1.5"}, r"unreadable format version '1\.5'"),
    "endless version": ({"format_version": "9" * 9999}, "unreadable format version '999"),
    "next version": ({"format_version": "2"}, "written in format 2, .* up to 1; install a newer"),
    "no spec": ({"spec": None}, "format 1, unreadable spec: spec: expected JSON, got ''"),
    "spec of words": ({"spec": "a flow"}, "unreadable spec: spec: expected JSON, got 'a flow'"),
    "spec of a list": ({"spec": "[]"}, "unreadable spec: spec: expected a dict, got list"),
    "unknown layer": ({"spec": '{"kind":"magic"}'}, "unreadable spec: .* got 'magic'"),
    "a law": ({"spec": '{"kind":"additive"}'}, "unreadable spec: .* a FlowSpec, got AdditiveLaw"),
    "deep spec": ({"spec": "[" * 10**5}, "unreadable spec: spec: nested too deeply"),
    "other flow": ({"spec": r.lu_linear(2).to_json()}, r"missing \['log_.* expected \['l"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_METADATA)
def test_metadata_of_another_kind_is_refused(path, case):
    metadata, message = BAD_METADATA[case]
    write(path, **metadata)
    refused(path, message)


def test_a_newer_file_says_what_to_install(path):
    write(path, format_version="12")
    refused(path, "written in format 12, .*; install a newer ppl-flowkit")


def test_a_spec_with_monstrous_widths_is_refused_without_the_memory(path):
    for width in (10**9, 10**15, 10**40):
        write(path, spec=SPEC.to_json().replace("[3,4]", f"[{width},{width}]"))
        refused(path, "expected shape")


BAD_ARRAYS = {
    "missing": (lambda a: {k: v for k, v in a.items() if not k.endswith("free")}, "missing"),
    "surplus": (lambda a: {**a, "more": np.ones(2)}, r"not expected \['more'\]"),
    "none": (lambda a: {}, "missing"),
    "shape": (lambda a: {**a, "layers.0.free": np.ones((2, 1))}, r"\(1, 2\), got \(2, 1\)"),
    "integers": (lambda a: {k: v.astype(np.int32) for k, v in a.items()}, "got int32"),
    "half": (lambda a: {k: v.astype(np.float16) for k, v in a.items()}, "got float16"),
    "booleans": (lambda a: {k: v > 0 for k, v in a.items()}, "got bool"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_do_not_fit_the_spec_are_refused(path, case):
    change, message = BAD_ARRAYS[case]
    write(path, arrays=change(arrays_for(SPEC)))
    refused(path, message)


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1)])
def test_numbers_that_numpy_lacks_are_refused(path, dtype, size):
    header, end = {"__metadata__": METADATA}, 0
    for array in SPEC.arrays():
        start, end = end, end + array.size * size
        header[array.name] = {
            "dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    refused(path, "holds a type that numpy does not know|expected dtype float32 or float64")
