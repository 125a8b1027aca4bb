"""Surgery of arrays on eight devices: the numbers of one, and an eighth of the work for each."""

import json
import os

import pytest

from tests.interpreter import run

EIGHT = "--xla_force_host_platform_device_count=8"
# Terms relative to the largest are float32 in the product of Gaussians.
TOLERANCES = {"diagonal": 2e-7, "full": 2e-7, "student": 1e-12, "flow": 1e-12}


def on_eight_devices(monkeypatch, *names):
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {EIGHT}")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = run(f"from tests.numpyro.surgery_on_devices import main\nmain(*{names!r})")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().split("\n")[-1])


def assert_close(found, tolerance):
    assert {name: d for name, d in found.items() if not d < tolerance} == {}


def assert_divided(program):
    """Each device has an eighth of the points, and asks no other one."""
    assert program["talk"] == []
    assert program["own points"]
    assert not program["all points"]
    assert program["bytes"] < 2**19


def test_densities_are_those_of_one_device_and_the_work_is_divided(monkeypatch):
    found = on_eight_devices(monkeypatch, "diagonal", "flow", "program of diagonal")
    assert_close(found["diagonal"], TOLERANCES["diagonal"])
    assert_close(found["flow"], TOLERANCES["flow"])
    assert_divided(found["program of diagonal"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", TOLERANCES)
def test_wherever_arrays_lie_the_densities_are_the_same(monkeypatch, kind):
    found = on_eight_devices(monkeypatch, f"all of {kind}")
    assert_close(found[f"all of {kind}"], TOLERANCES[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["diagonal", "flow"])
def test_surgery_is_that_of_one_device(monkeypatch, kind):
    found = on_eight_devices(monkeypatch, f"surgery of {kind}")
    assert_close(found[f"surgery of {kind}"], TOLERANCES[kind])


@pytest.mark.slow
def test_surgery_of_a_model_whose_data_are_spread(monkeypatch):
    found = on_eight_devices(monkeypatch, "of model", "program of flow")
    assert_close(found["of model"], TOLERANCES["diagonal"])
    assert_divided(found["program of flow"])


@pytest.mark.slow
def test_a_flow_is_swept_in_pieces_by_loops_too(monkeypatch):
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")
    found = on_eight_devices(monkeypatch, "flow", "program of flow")
    assert_close(found["flow"], TOLERANCES["flow"])
    assert_divided(found["program of flow"])
