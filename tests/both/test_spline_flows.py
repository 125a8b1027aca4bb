"""Flows of splines: deep ones with wild weights, and what they fit that affine ones cannot."""

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.numerics import SPLINE_BOUND
from tests.both.test_stability import BARS, both_dtypes, points, round_trip, wild_arrays
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())


@every_wing
@pytest.mark.parametrize("name", [pytest.param("maf", marks=pytest.mark.slow), "realnvp"])
@both_dtypes
def test_ten_wild_layers_keep_the_bars(wing, name, dtype):
    z = points(dtype)
    spec = getattr(r, name)(z.shape[-1], num_layers=10, law="spline")
    for seed in range(2):
        flow = wing.build(spec, wild_arrays(spec, seed=seed, dtype=dtype))
        x, log_det, back, inverse_log_det = round_trip(wing, flow, z)
        assert np.abs(x - z).max() > 1  # the weights do something
        assert np.abs(log_det).max() > 10
        assert np.abs(back - z).max() < BARS[dtype]
        assert np.abs(log_det + inverse_log_det).max() < BARS[dtype]


def two_peaks(num_rows, seed):
    rng = np.random.default_rng(seed)
    return (rng.choice([-1.0, 1.0], num_rows) + 0.25 * rng.normal(size=num_rows))[:, None]


def true_log_density(x):
    scaled = (x - np.array([-1.0, 1.0])) / 0.25
    return np.log(np.exp(-0.5 * scaled**2).mean(-1)) - np.log(0.25 * np.sqrt(2 * np.pi))


@every_wing
def test_one_layer_fits_two_peaks_as_an_affine_one_cannot(wing):
    rows, fresh = two_peaks(2000, seed=0), two_peaks(4000, seed=1)
    truth = true_log_density(fresh).mean()
    reached = {}
    for law in ("affine", "spline"):
        flow = wing.fresh(r.maf(1, num_layers=1, hidden_dims=(4,), law=law))
        settings = {"num_epochs": 30, "batch_size": 200, "learning_rate": 2e-2}
        result = wing.package.fit_density(flow, rows, **settings, progress=False)
        z, log_det = wing.call(result.flow, "inverse_and_log_det", fresh, None)
        log_density = -0.5 * (z[:, 0] ** 2 + np.log(2 * np.pi)) + log_det
        reached[law] = log_density.mean()
    assert reached["affine"] < truth - 0.7  # a Normal of that mean and variance
    assert truth - 0.04 < reached["spline"] < truth + 0.005


@every_wing
def test_free_location_and_scale_reach_data_far_from_the_box(wing):
    rows = 300.0 + 50.0 * two_peaks(1000, seed=2)
    spec = r.maf(1, num_layers=1, hidden_dims=(4,), law="spline").layers[0]
    arrays = {a.name: np.zeros(a.shape) for a in spec.arrays()}
    arrays["free"] = np.array([[300.0], [np.log(50.0)]])
    z, log_det = wing.call(wing.build(spec, arrays), "inverse_and_log_det", rows, None)
    np.testing.assert_allclose(z, (rows - 300.0) / 50.0, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(log_det, np.full(1000, -np.log(50.0)), rtol=1e-13)
    assert np.abs(z).max() < SPLINE_BOUND
