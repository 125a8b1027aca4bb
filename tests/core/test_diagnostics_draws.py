"""Resampling by weights, arviz, and the picture of a diagnosis."""

import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from flowkit_core.diagnostics import arviz, diagnose_draws, resampled_rows, to_arviz

ROOT = Path(__file__).parents[2]


def rows(log_weights, count, seed=0, **kwargs):
    return resampled_rows(log_weights, count, rng=np.random.default_rng(seed), **kwargs)


def test_draws_are_chosen_in_proportion_to_their_weights():
    weights = np.array([0.1, 0.0, 0.6, 0.3])
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights) + 1e4  # up to a constant
    counts = np.bincount(rows(log_weights, 100_000), minlength=4)
    assert np.all(abs(counts / 1e5 - weights) <= 4 * np.sqrt(weights * (1 - weights) / 1e5))


def test_without_replacement_draws_are_distinct_and_chosen_one_after_the_other():
    weights = np.array([0.1, 0.2, 0.7])
    first, second = np.zeros(3), np.zeros(3)
    for seed in range(4000):
        one, two = rows(np.log(weights), 2, seed, replace=False)
        assert one != two
        first[one] += 1
        second[two] += 1
    np.testing.assert_allclose(first / 4000, weights, atol=0.03)
    # P(second = j) = sum_i w_i w_j / (1 - w_i) over i other than j
    expected = [sum(weights[i] * weights[j] / (1 - weights[i]) for i in range(3) if i != j)
                for j in range(3)]  # fmt: skip
    np.testing.assert_allclose(second / 4000, expected, atol=0.03)


def test_all_of_them_without_replacement_are_a_permutation():
    assert sorted(rows(np.zeros(50), 50, replace=False)) == list(range(50))


@pytest.mark.parametrize("replace", [True, False])
def test_resampling_repeats_itself_and_leaves_out_what_has_no_weight(replace):
    log_weights = np.where(np.arange(100) % 2 == 0, 0.0, -np.inf)
    chosen = rows(log_weights, 40, seed=3, replace=replace)
    np.testing.assert_array_equal(chosen, rows(log_weights, 40, seed=3, replace=replace))
    assert not np.array_equal(chosen, rows(log_weights, 40, seed=4, replace=replace))
    assert np.all(chosen % 2 == 0)


def test_resampling_refuses_what_cannot_be_done():
    with pytest.raises(ValueError, match="expected at least one above zero"):
        rows(np.full(10, -np.inf), 5)
    with pytest.raises(ValueError, match=r"at most 3.*got 4"):
        rows(np.array([0.0, 0.0, 0.0, -np.inf]), 4, replace=False)
    with pytest.raises(ValueError, match="num_draws: expected an integer >= 1, got 0"):
        rows(np.zeros(3), 0)
    with pytest.raises(TypeError, match="replace: expected True or False"):
        rows(np.zeros(3), 1, replace=1)


def test_inference_data_hold_the_draws_and_their_weights():
    x = np.random.default_rng(0).normal(size=(200, 3))
    found = diagnose_draws(0.1 * x[:, 0], {"x": x, "mu": x[:, 0]})
    data = found.to_arviz()
    assert dict(data.posterior.sizes) == {"chain": 1, "draw": 200, "x_dim_0": 3}
    np.testing.assert_array_equal(data.posterior["x"][0], x)
    np.testing.assert_array_equal(data.sample_stats["log_weight"][0], found.log_weights)
    np.testing.assert_array_equal(data.sample_stats["log_ratio"][0], found.log_ratios)
    assert "sample_stats" not in to_arviz({"mu": x[:, 0]}).groups()
    with pytest.raises(ValueError, match="at least one parameter"):
        to_arviz({})


def test_a_missing_arviz_is_asked_for_by_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    # Blocked this way the error lacks nothing that a real absence has.
    with pytest.raises(ImportError, match=r'pip install "ppl-flowkit\[diagnostics\]"'):
        diagnose_draws(np.zeros(100), {})


def test_importing_arviz_warns_of_nothing_and_leaves_the_users_filters(tmp_path):
    """In a process of its own, with a cache in which arviz has not warned today."""
    code = """
        import warnings
        warnings.simplefilter("error")
        from flowkit_core.diagnostics import arviz
        import sys
        assert "arviz" not in sys.modules
        before = list(warnings.filters)
        arviz()
        assert warnings.filters[: len(before)] == before or set(before) <= set(warnings.filters)
        try:
            warnings.warn("of the user", FutureWarning)
        except FutureWarning:
            print("raised")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "raised"), done.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert arviz().__name__ == "arviz"


def test_the_core_and_the_wings_import_without_arviz_and_matplotlib():
    code = """
        import sys
        import flowkit_core.diagnostics, flowkit_core.diagnostics.result
        found = [m for m in ("arviz", "matplotlib", "xarray", "torch", "jax") if m in sys.modules]
        print(found)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_picture_shows_the_tail_and_the_means(tmp_path):
    z = np.random.default_rng(0).normal(size=(1000, 25))
    found = diagnose_draws(0.2 * z[:, 3] ** 2 + 0.3 * z[:, 4], {"theta": z})
    figure = found.plot()
    assert isinstance(figure, Figure)
    tail, means = figure.axes
    assert tail.get_title() == f"khat = {found.khat:.2f} (threshold 0.67)"
    raw, smoothed, _ = tail.lines
    assert raw.get_ydata()[0] == pytest.approx(
        (found.log_ratios.max() - found.log_evidence) / np.log(10)
    )
    assert smoothed.get_ydata()[0] == pytest.approx(
        (found.log_weights.max() + np.log(1000)) / np.log(10)
    )
    assert means.get_yticklabels()[0].get_text() == "theta[4]"
    assert means.get_title() == "means: the 20 of 25 that move most"
    found.plot(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_few_parameters_are_all_shown():
    figure = diagnose_draws(np.zeros(200), {"a": np.arange(200.0)}).plot()
    assert figure.axes[1].get_title() == "means"
    assert diagnose_draws(np.zeros(200), {}).plot().axes[1].get_title() == "means"
