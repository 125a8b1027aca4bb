"""Diagnoses of guides: closed forms, and the words that go with the numbers."""

import json
import math

import numpy as np
import pytest

from flowkit_core.diagnostics import diagnose_draws, khat_threshold, smooth
from tests.core.gaussian_guide import gaussian


@pytest.mark.parametrize(
    ("n", "threshold"), [(100, 0.5), (320, 0.6), (1000, 2 / 3), (2200, 0.7), (4000, 0.7)]
)
def test_the_threshold_of_khat_is_that_of_the_papers_table(n, threshold):
    assert khat_threshold(n) == pytest.approx(threshold, abs=2e-3)
    assert gaussian(1.1, n=n).khat_threshold == khat_threshold(n)


@pytest.mark.parametrize("sd", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_khat_is_the_tail_index_of_the_ratios(sd):
    """A ratio is ``exp(z^2 (1 - sd^2) / 2)`` for z ~ N(0, 1): its index is ``1 - sd^2``."""
    exact = 1 - sd**2
    found = np.mean([gaussian(sd, n=100_000, seed=seed).khat for seed in range(4)])
    # sd of an estimate from the m largest: (1 + k) / sqrt(m); 0.05 for a tail that is only
    # asymptotically Pareto's, and for the prior of the fit.
    assert abs(found - exact) < 3 * (1 + exact) / math.sqrt(4 * 949) + 0.05


def test_a_guide_wider_than_the_posterior_has_no_tail():
    assert gaussian(1.3, n=100_000).khat <= 0
    assert gaussian(1.3, n=1000).trusted


def test_the_evidence_is_within_its_error_and_the_elbo_below_it_by_the_divergence():
    sd, evidence = 0.8, -7.3
    divergence = -math.log(sd) + (sd**2 - 1) / 2
    errors = []
    for seed in range(20):
        found = gaussian(sd, n=10_000, seed=seed, log_evidence=evidence)
        assert abs(found.log_evidence - evidence) < 3 * found.log_evidence_stderr
        assert abs(found.elbo - (evidence - divergence)) < 4 * found.elbo_stderr
        assert found.gap == pytest.approx(divergence, abs=0.02)
        errors.append((found.log_evidence - evidence) / found.log_evidence_stderr)
    assert 0.5 < np.std(errors) < 1.5  # the standard error is of the right size


def test_the_effective_sample_size_is_that_of_the_weights():
    # E[w^2] = sd / sqrt(2 - 1 / sd^2) for q wider than p: the weights are bounded.
    sd = 1.5
    found = gaussian(sd, n=100_000)
    assert found.ess_fraction == pytest.approx(math.sqrt(2 - sd**-2) / sd, rel=0.01)
    assert found.ess == found.ess_fraction * 100_000
    np.testing.assert_allclose(np.exp(found.log_weights).sum(), 1)
    np.testing.assert_allclose(np.exp(2 * found.log_weights).sum(), 1 / found.ess)


def test_weighted_moments_are_those_of_the_posterior():
    (x,) = gaussian(0.9, mean=0.3, n=50_000).parameters
    assert (x.raw_mean, x.raw_sd) == pytest.approx((0.3, 0.9), abs=0.02)
    assert (x.smoothed_mean, x.smoothed_sd) == pytest.approx((0, 1), abs=0.03)
    assert x.difference == pytest.approx(-0.3 / 0.9, abs=0.04)
    assert x.log_sd_ratio == pytest.approx(math.log(0.9), abs=0.03)


def test_an_exact_guide_has_no_variance():
    x = np.random.default_rng(0).normal(size=(500, 2))
    found = diagnose_draws(np.full(500, -3.7), {"x": x})
    assert (found.elbo, found.elbo_stderr) == (-3.7, 0.0)
    assert found.log_evidence == pytest.approx(-3.7, abs=1e-12)
    assert found.log_evidence_stderr == pytest.approx(0, abs=1e-7)
    assert found.ess == pytest.approx(500)
    assert (found.khat, found.level) == (-math.inf, "good")
    assert all(abs(p.difference) < 1e-12 for p in found.parameters)
    assert "largest weights are equal" in str(found)


def test_parameters_are_named_by_their_indices():
    draws = {"mu": np.zeros(100), "w": np.zeros((100, 2, 2)), "none": np.zeros((100, 0))}
    names = [p.name for p in diagnose_draws(np.zeros(100), draws).parameters]
    assert names == ["mu", "w[0,0]", "w[0,1]", "w[1,0]", "w[1,1]"]


def test_levels_and_their_reasons():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(10_000, 2))
    draws = {"a": z[:, 0], "b": z[:, 1]}
    good = diagnose_draws(0.05 * z[:, 0], draws)
    assert (good.level, good.trusted) == ("good", True)
    shifted = diagnose_draws(0.3 * z[:, 0], draws)
    assert (shifted.level, shifted.trusted) == ("usable after importance weighting", True)
    assert "the mean of a is off by 0.3" in shifted.verdict
    narrow = diagnose_draws(0.15 * z[:, 1] ** 2, draws)
    assert narrow.level == "usable after importance weighting"
    assert "the sd of b is 0.8" in narrow.verdict
    uneven = diagnose_draws(1.2 * z[:, 0], draws)
    assert "the weights are uneven and the ELBO is far below the evidence" in uneven.verdict
    too_narrow = diagnose_draws(0.48 * (z**2).sum(1), draws)
    assert too_narrow.level == "do not trust"
    for found in (good, shifted, narrow, uneven):
        assert "mode that the guide never draws from would not show" in found.verdict
        assert "\n" not in found.verdict


def test_the_table_shows_the_means_that_move_most():
    z = np.random.default_rng(0).normal(size=(1000, 30))
    text = str(diagnose_draws(0.3 * z[:, 17], {"theta": z}))
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("theta[")]
    assert rows[0] == "theta[17]"
    assert len(rows) == 10
    assert "and 20 more" in text
    assert text.splitlines()[-1].startswith("usable after importance weighting")
    assert str(diagnose_draws(np.zeros(100), {})).splitlines()[-1].startswith("good")


def test_a_dictionary_of_it_fits_into_json():
    found = gaussian(0.9, n=4000)
    read = json.loads(json.dumps(found.to_dict()))
    assert read["khat"] == found.khat
    assert read["verdict"] == found.verdict
    assert read["trusted"] is True
    assert read["parameters"][0]["name"] == "x"
    assert read["parameters"][0]["difference"] == found.parameters[0].difference


def test_a_diagnosis_does_not_touch_its_arguments_and_repeats_itself():
    log_ratios = np.random.default_rng(0).normal(size=300)
    kept = log_ratios.copy()
    x = np.arange(300.0)
    one, two = (diagnose_draws(log_ratios, {"x": x}) for _ in range(2))
    np.testing.assert_array_equal(log_ratios, kept)
    assert one == two
    assert "log_weights" not in repr(one)


def test_smoothing_replaces_only_the_tail():
    log_ratios = gaussian(0.7, n=1000).log_ratios
    smoothed, _ = smooth(log_ratios)
    changed = smoothed != log_ratios
    assert 90 <= changed.sum() <= 95  # 3 sqrt(1000)
    assert log_ratios[changed].min() > log_ratios[~changed].max()
    assert smoothed.max() <= log_ratios.max()


def test_a_heavy_tail_of_next_to_no_weight_does_not_spoil_the_verdict():
    rng = np.random.default_rng(1)
    z = rng.normal(size=10_000)
    # A Pareto tail of index one, whose largest weights are a few times the others.
    found = diagnose_draws(np.log1p(4e-4 / rng.uniform(size=10_000)), {"z": z})
    assert found.khat > found.khat_threshold
    assert found.ess_fraction > 0.98
    assert (found.level, found.trusted) == ("good", True)
    assert "khat" in found.verdict
    assert "of a tail that carries next to nothing" in found.verdict
