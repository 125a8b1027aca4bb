"""JAX's defaults: float32 throughout, in a process that never switched x64 on."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import numpyro_flowkit as fk
from tests.numpyro import single_precision
from tests.numpyro.helpers import SMALL, assert_close, large

every_kind = pytest.mark.parametrize("name", single_precision.KINDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("single")
    fk.save_flow(large(fk.maf(3, **SMALL)), path / "double.safetensors")
    return path


@pytest.fixture(scope="module")
def report(folder):
    settings = {"JAX_ENABLE_X64": "0", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", single_precision.__name__, str(folder)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@every_kind
def test_everything_is_float32(report, name):
    found = report["recipes"][name]
    assert set(found["outputs"]) == {"float32"}
    assert set(found["fresh"] + found["gradient"]) == ({"float32"} if name != "permute" else set())


@every_kind
def test_a_round_trip_keeps_single_precision(report, name):
    error, log_det_error = report["recipes"][name]["errors"]
    assert error < 1e-3
    assert log_det_error < 1e-3
    if name != "permute":
        assert error > 0


@every_kind
def test_float64_weights_are_refused_with_the_way_out(report, name):
    expected = 'dtype: float64 needs jax.config.update("jax_enable_x64", True)'
    assert report["recipes"][name]["refusal"] == expected


def test_a_float64_checkpoint_becomes_float32_with_a_warning(report, folder):
    found = report["loaded"]
    assert set(found["dtypes"]) == {"float32"}
    (message,) = found["warnings"]
    assert message.startswith("UserWarning: ")
    assert "holds float64 weights, which become float32" in message
    assert found["file"] == single_precision.__file__  # the caller's line, not the library's
    single, double = (
        fk.load_flow(folder / f"{precision}.safetensors") for precision in ("single", "double")
    )
    rounded = jax.tree.map(lambda leaf: leaf.astype(np.float32), double)
    assert_close(single, rounded, 0, 0)
