"""Adapters of our own flows and a tiny run; peers are checked by `python -m benchmarks check`."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import check, training, weights
from benchmarks.__main__ import main
from benchmarks.case import Case
from benchmarks.libraries import BACKENDS, LIBRARIES, OURS
from benchmarks.rounds import LEAST_ROUNDS, Field, number_of_rounds
from benchmarks.settings import Settings
from benchmarks.workers import WorkerError

TINY = SimpleNamespace(rounds=4, block_seconds=0.0)


@pytest.mark.parametrize("family", LIBRARIES[OURS["torch"]].families)
@pytest.mark.parametrize("backend", BACKENDS)
def test_our_adapters_compute_what_they_say(backend, family):
    found = check.check_adapter(OURS[backend], family)
    for error in ("round_trip", "sample", "log_det", "inverse_log_det"):
        assert found[error] < check.TOLERANCE
    assert found["identity"] > 0.01


def test_weights_of_networks_fill_every_array_on_the_scale_of_its_inputs():
    shapes = {
        "layers.0.conditioner.weight_0": (50, 4),
        "layers.0.conditioner.bias_0": (50,),
        "layers.0.conditioner.weight_1": (8, 50),
        "layers.0.conditioner.bias_1": (8,),
        "layers.0.free": (1, 4),
    }
    drawn = weights.draw_named(shapes)
    assert {name: array.shape for name, array in drawn.items()} == shapes
    bounds = (4**-0.5, 4**-0.5, 50**-0.5, 50**-0.5, 0)
    for array, bound in zip(drawn.values(), bounds, strict=True):
        assert array.dtype == np.float32
        assert np.abs(array).max() <= bound
        assert np.abs(array).max() >= 0.6 * bound


def test_weights_survive_a_file(tmp_path):
    arrays = {"layers.0.free": np.ones((1, 2), np.float32)}
    weights.save_named(tmp_path / "weights.npz", arrays)
    np.testing.assert_equal(weights.load_named(tmp_path / "weights.npz"), arrays)


def test_the_chain_has_the_correlation_and_entropy_it_says():
    values = training.chain(np.random.default_rng(0), 20_000, 3)
    covariance = np.cov(values.T)
    assert covariance[0, 1] == pytest.approx(0.99, abs=0.03)
    exact = training.CORRELATION ** np.abs(np.subtract.outer(range(3), range(3)))
    expected = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * exact)[1]
    assert training.entropy(3) == pytest.approx(expected)


def test_a_few_steps_of_training_leave_weights_for_both_wings(tmp_path):
    path = str(tmp_path / "weights.npz")
    assert training.train(2, path, 2)["loss"] > training.entropy(2)
    case = Case("maf", 2, hidden=training.HIDDEN, layers=training.LAYERS, batch=3, weights=path)
    import benchmarks.peers.numpyro_flowkit as right
    import benchmarks.peers.pyro_flowkit as left

    x = np.zeros((3, 2), np.float32)
    z, _ = right.flow_of(case).inverse_and_log_det(x)
    import torch

    expected, _ = left.flow_of(case).inverse_and_log_det(torch.tensor(x))
    np.testing.assert_allclose(z, expected.detach(), rtol=1e-4, atol=1e-5)


def test_long_rounds_are_few_and_short_ones_as_many_as_asked_for():
    assert number_of_rounds(100.0, 11) == LEAST_ROUNDS
    assert number_of_rounds(0.001, 11) == 11


# One test for several things: each process takes seconds to import its framework.
def test_a_tiny_run_yields_figures_of_every_round_and_reasons_for_gaps_and_failures():
    ours = OURS["torch"]
    case = Case("maf", 3, hidden=8, layers=2, batch=4)
    with Field(TINY, {"one": ours, "two": ours}) as field:
        entries = field.measure({"one": case, "two": case}, "sample_grad")
        gap = field.measure({"one": case}, "log_det")
        worker = field.workers["two"]
        with pytest.raises(WorkerError, match="IndexError"):
            worker.ask("time", handle=5, block_seconds=0.0)
        worker.process.kill()
        with pytest.raises(WorkerError, match="process ended, killed by signal 9"):
            worker.ask("time", handle=0, block_seconds=0.0)
        dead = field.measure({"two": case}, "score")
    for entry in entries.values():
        assert len(entry["cpu"]) == len(entry["wall"]) == len(entry["calls"]) == TINY.rounds
        assert min(entry["wall"]) > 0
        assert entry["compile"] is None
    assert gap == {"one": {"skipped": "no log-determinant of its own"}}
    assert "process ended" in dead["two"]["skipped"]


def test_compile_times_are_kept_apart_in_jax():
    ours = OURS["jax"]
    with Field(TINY, {ours: ours}) as field:
        entries = field.measure({ours: Case("maf", 3, hidden=8, layers=1, batch=4)}, "score")
    assert len(entries[ours]["cpu"]) == TINY.rounds
    assert entries[ours]["compile"]["wall"] > 0


def test_quick_settings_keep_ours_and_the_fastest_peers():
    quick, full = Settings(quick=True), Settings()
    assert quick.libraries("torch", "maf") == ["pyro_flowkit", "pyro", "normflows"]
    assert full.libraries("jax", "lu") == ["numpyro_flowkit", "flowjax", "distrax"]
    assert set(quick.dims) < set(full.dims)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["speed"], "no such section: speed"), (["report", "noise"], "stand alone")],
)
def test_wrong_arguments_are_refused(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err
