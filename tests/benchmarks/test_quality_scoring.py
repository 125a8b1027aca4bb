"""Figures of draws whose distance from the answers is known, and posteriors in folders."""

import dataclasses
import json
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from benchmarks.quality import folder, synthetic
from benchmarks.quality.deterministic_pyro import with_deterministic
from benchmarks.quality.problem import LOGS, MOMENTS, QUANTILES, Problem
from benchmarks.quality.scoring import errors, flattened, score
from flowkit_core.diagnostics import diagnose_draws

PROBLEM = Problem(
    name="two",
    family="posteriordb",
    sites=("b", "a"),
    params=("b", "a[1]", "a[2]"),
    location=np.array([0.0, 0.0, 10.0]),
    scale=np.array([1.0, 2.0, 0.5]),
    compare=(MOMENTS,) * 3,
    log_evidence=-3.0,
    log_evidence_stderr=0.3,
)
# Mean 0 and sd (ddof 1) 1.
UNIT = np.array([-1.0, 1.0] * 500) * math.sqrt(999 / 1000)


def test_sites_are_flattened_in_their_order():
    draws = {"a": np.arange(6.0).reshape(3, 1, 2), "b": np.array([7.0, 8.0, 9.0]), "c": None}
    assert flattened(draws, ("b", "a")).tolist() == [[7, 0, 1], [8, 2, 3], [9, 4, 5]]


def test_errors_are_relative_to_the_reference_and_the_worst_parameter_counts():
    values = np.stack([UNIT, 2 * UNIT + 0.5, 0.6 * UNIT + 9.9], axis=1)
    assert errors(values, PROBLEM) == (pytest.approx(0.25), pytest.approx(0.2))
    with pytest.raises(ValueError, match="hold 2 numbers, and there are 3 params"):
        errors(values[:, :2], PROBLEM)


def test_heavy_tails_are_compared_by_quantiles_and_logs_as_logs():
    rng = np.random.default_rng(0)
    spoilt = np.append(rng.normal(size=200_000), [1e9] * 10)
    values = np.stack([spoilt, np.exp(2 * rng.normal(size=len(spoilt)))], axis=1)
    problem = dataclasses.replace(
        PROBLEM, params=("b", "a"), location=np.zeros(2), scale=np.array([1.0, 2.0]),
        compare=(QUANTILES, LOGS),
    )  # fmt: skip
    assert max(errors(values, problem)) < 0.02


def test_kl_is_the_gap_to_the_reference_with_both_errors():
    ratios = -3.1 + 0.1 * UNIT
    draws = {"b": UNIT, "a": np.stack([2 * UNIT, 0.5 * UNIT + 10], 1)}
    found = score(diagnose_draws(ratios, {}), draws, PROBLEM)
    assert found["kl"] == pytest.approx(0.1)
    assert found["kl_stderr"] == pytest.approx(math.hypot(0.3, 0.1 / math.sqrt(1000)))
    assert found["log_evidence_error"] == pytest.approx(-0.095, abs=1e-4)
    assert found["mean_error"] == pytest.approx(0, abs=1e-12)
    assert found["ess"] == pytest.approx(0.99, abs=0.001)
    assert found["nan"] is False


@pytest.mark.parametrize("where", ["ratios", "draws"])
def test_nan_is_told_wherever_it_is(where):
    ratios, b = np.zeros(1000), UNIT.copy()
    {"ratios": ratios, "draws": b}[where][3] = math.nan
    found = score(diagnose_draws(ratios, {}), {"b": b, "a": np.zeros((1000, 2))}, PROBLEM)
    assert found["nan"] is True
    assert "mean_error" not in score(diagnose_draws(ratios, {}), None, PROBLEM)


def _with_deterministic(broadcasts):
    def model(data):
        a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        if not broadcasts:
            assert a.shape == (2,)
        pyro.deterministic("total", a.sum(-1) + data["shift"])

    return model


@pytest.mark.parametrize("broadcasts", [True, False])
def test_deterministic_sites_of_pyro_are_computed_from_the_draws(broadcasts):
    draws = {"a": np.arange(10.0, dtype=np.float32).reshape(5, 2)}
    args = ({"shift": 100.0},)
    found = with_deterministic(_with_deterministic(broadcasts), args, draws, ("total", "a"))
    assert found["total"].tolist() == [101, 105, 109, 113, 117]
    assert with_deterministic(None, (), draws, ("a",)) is draws


RECORD = {
    "name": "one-one",
    "data": {"y": [1.0, 2.0], "K": 3},
    "params": ["a", "b"],
    "sites": ["a", "b"],
    "reference": {"mean": [1.0, 9.0], "sd": [0.5, 9.0], "draws": [[1.0, 1.0], [1.0, math.e**2]]},
    "log_evidence": {"value": -1.5, "se": 0.01},
    "compare_on_log_scale": ["b"],
}


@pytest.fixture
def posteriors(tmp_path):
    (tmp_path / "any.json").write_text(json.dumps(RECORD))
    (tmp_path / "else.json").write_text('{"name": "no posterior"}')
    for wing in ("pyro", "numpyro"):
        text = f"MODELS = {{'one-one': lambda data: '{wing}'}}\n"
        (tmp_path / f"models_{wing}.py").write_text(text)
    return tmp_path


def test_any_posterior_in_the_folder_is_found(posteriors):
    assert folder.what_is_missing(posteriors) is None
    assert list(folder.names(posteriors)) == ["one-one"]
    found = folder.problem(posteriors, "one-one")
    assert found.location.tolist() == [1.0, 1.0]
    assert found.scale.tolist() == [0.5, math.sqrt(2)]
    assert found.compare == (MOMENTS, LOGS)
    (data,) = found.args
    assert data["y"].tolist() == [1.0, 2.0]
    assert data["K"] == 3
    for wing in ("pyro", "numpyro"):
        assert folder.model(posteriors, wing, "one-one")(data) == wing


def test_a_folder_without_posteriors_is_told_what_it_lacks(posteriors):
    (posteriors / "any.json").unlink()
    assert "holds no such JSON file" in folder.what_is_missing(posteriors)
    (posteriors / "models_pyro.py").unlink()
    assert "lacks models_pyro.py; point it at" in folder.what_is_missing(posteriors)
    message = folder.what_is_missing(posteriors / "nowhere")
    assert "there is no folder" in message
    assert "MODELS[name], a function of the data" in message


def test_synthetic_targets_have_no_data():
    assert synthetic.problem("funnel_100").args == ()
    with pytest.raises(KeyError):
        synthetic.problem("funny")
