"""Diagnoses from ratios of every kind: equal, rounded, enormous, zero, and no numbers."""

import math

import numpy as np
import pytest

from flowkit_core.diagnostics import diagnose_draws
from tests.core.gaussian_guide import gaussian

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("size", [1e-15, 1e-12, 1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("steps", [0.25, 0.5, 1, 4])
def test_rounding_of_an_exact_guide_is_not_taken_for_a_tail(size, steps):
    for seed in range(5):
        z = np.random.default_rng(seed).normal(size=4000)
        rounding = np.round(z * steps) * size / steps
        assert diagnose_draws(rounding - 1, {"x": z}).level == "good"


def test_bounded_ratios_among_zeros_are_fine():
    """q uniform on twice the support of p."""
    x = np.random.default_rng(0).uniform(size=2000)
    found = diagnose_draws(np.where(x < 0.5, math.log(2), -INF), {"x": x})
    assert found.num_zero_density == (x >= 0.5).sum() == found.num_nonfinite
    assert found.log_evidence == pytest.approx(0, abs=4 * found.log_evidence_stderr)
    assert (found.elbo, found.gap) == (-INF, INF)
    assert math.isnan(found.elbo_stderr)
    assert found.level == "usable after importance weighting"
    assert f"{found.num_zero_density} draws the model has no density" in found.verdict
    assert found.parameters[0].smoothed_mean == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("offset", [-1e5, 1e5, -1e300])
def test_ratios_of_any_size_neither_overflow_nor_lose_digits(offset):
    near = gaussian(0.8, n=4000)
    far = gaussian(0.8, n=4000, log_evidence=offset)
    assert far.elbo - offset == pytest.approx(near.elbo, abs=1e-9 if abs(offset) < 1e6 else 1e290)
    if abs(offset) < 1e6:
        assert far.khat == pytest.approx(near.khat, abs=1e-6)
        assert far.log_evidence - offset == pytest.approx(near.log_evidence, abs=1e-9)
        assert far.ess == pytest.approx(near.ess)


@pytest.mark.parametrize("spread", [30, 1e3, 1e5, 1e307])
def test_weights_on_a_single_draw_are_not_trusted(spread):
    log_ratios = np.random.default_rng(0).normal(size=1000) * spread
    found = diagnose_draws(log_ratios, {"x": np.arange(1000)})
    assert found.khat > found.khat_threshold
    assert found.ess == pytest.approx(1, abs=3)
    assert found.level == "do not trust"
    assert "few draws carry the weight" in found.verdict


@pytest.mark.parametrize("bad", [NAN, INF])
def test_what_is_no_number_is_counted_left_out_and_not_trusted(bad):
    x = np.random.default_rng(0).normal(size=1000)
    log_ratios = np.zeros(1000)
    log_ratios[[3, 5]] = bad
    found = diagnose_draws(log_ratios, {"x": x})
    assert (found.khat, found.num_invalid, found.num_zero_density) == (INF, 2, 0)
    assert not found.trusted
    assert "ratio of 2 of 1000 draws is NaN or infinite" in found.verdict
    assert (found.elbo, found.log_evidence) == pytest.approx((0, 0))
    assert found.ess == pytest.approx(998)
    assert "2 NaN or infinite" in str(found)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_where_nothing_is_left_a_diagnosis_says_so(value, tmp_path):
    found = diagnose_draws(np.full(200, value), {"x": np.zeros((200, 2))})
    assert (found.khat, found.ess, found.level) == (INF, 0, "do not trust")
    assert found.num_nonfinite == 200
    assert math.isnan(found.parameters[0].smoothed_mean)
    if value == -INF:
        assert found.log_evidence == -INF
        assert "the model has no density at any draw" in found.verdict
    assert str(found)
    assert found.plot(tmp_path / "picture.png")


def test_one_draw_that_counts_is_not_trusted():
    log_ratios = np.full(200, -INF)
    log_ratios[7] = 0.0
    found = diagnose_draws(log_ratios, {"x": np.arange(200.0)})
    assert not found.trusted
    assert found.parameters[0].smoothed_mean == 7


def test_draws_that_are_not_finite_do_no_harm_where_their_weight_is_zero():
    x = np.random.default_rng(0).normal(size=1000)
    log_ratios = np.zeros(1000)
    x[0], log_ratios[0] = INF, -INF
    (p,) = diagnose_draws(log_ratios, {"x": x}).parameters
    assert p.raw_mean == INF
    assert math.isnan(p.difference)


def test_a_constant_does_not_move():
    (p,) = diagnose_draws(np.random.default_rng(0).normal(size=500), {"c": np.ones(500)}).parameters
    assert (p.difference, p.log_sd_ratio, p.raw_sd) == (0, 0, 0)


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_moments_survive_a_large_mean(offset):
    x = np.random.default_rng(0).normal(size=2000)
    (p,) = diagnose_draws(0.5 * x, {"x": x + offset}).parameters
    assert p.difference == pytest.approx(0.5, abs=0.07)
    assert (p.raw_sd, p.smoothed_sd) == pytest.approx((1, 1), abs=0.07)


def test_too_few_effective_draws_ask_for_more():
    # A tenth of 200 draws has equal weights, the others none: no tail, but 20 draws.
    log_ratios = np.where(np.arange(300) % 10 == 0, 0.0, -50.0)
    found = diagnose_draws(log_ratios, {"x": np.arange(300)})
    assert found.level == "do not trust"


BAD = {
    "too few": (np.zeros(99), {"x": np.zeros(99)}, "at least 100 draws, got 99"),
    "a matrix": (np.zeros((100, 1)), {}, r"shape \(n,\), got \(100, 1\)"),
    "another number of draws": (np.zeros(100), {"x": np.zeros((99, 2))}, r"'x'.*100.*\(99, 2\)"),
    "a number": (np.zeros(100), {"x": 1.0}, r"'x'.*got shape \(\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arrays_are_refused(case):
    log_ratios, draws, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        diagnose_draws(log_ratios, draws)


def test_float32_is_computed_with_in_float64():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    found = diagnose_draws(x, {"x": x})
    assert found.log_ratios.dtype == found.log_weights.dtype == np.float64
    assert found.draws["x"].dtype == np.float32
    assert found.log_evidence == diagnose_draws(x.astype(float), {"x": x}).log_evidence
