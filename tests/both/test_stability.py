"""Numbers that stay numbers: depth, large weights, extreme inputs, the soft bound.

Two kinds of large weights. `wild_arrays`: hidden layers as they start, last layers with standard
deviation 1.5 / sqrt(inputs), so that raw log-scales are of order one; there the bars hold.
`arrays_for` is wilder still: ten such layers magnify one rounding of x by 1e10 on the way back,
whatever computes them. There a round trip may err by no more than what the last digit of x decides.
"""

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.numerics import TOTAL_LOG_SCALE, log_scale_bound
from flowkit_core.specs import AffineLaw
from tests.cases import arrays_for, coupling
from tests.wings import WINGS

DIM = 64
BARS = {np.float32: 1e-3, np.float64: 1e-9}
every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
every_recipe = pytest.mark.parametrize("name", ["maf", "iaf", "realnvp"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def spec_of(name, num_layers):
    return getattr(r, name)(DIM, num_layers=num_layers)


def wild_arrays(spec, *, seed, dtype):
    rng = np.random.default_rng(seed)
    arrays = {}
    for array in spec.arrays():
        if array.fan_in:
            values = rng.uniform(-1, 1, size=array.shape) / np.sqrt(array.fan_in)
        elif array.name.endswith("free"):
            values = 0.2 * rng.normal(size=array.shape)
        else:
            values = 1.5 * rng.normal(size=array.shape) / np.sqrt(array.shape[-1])
        arrays[array.name] = values.astype(dtype)
    return arrays


def points(dtype, num_rows=16):
    return np.random.default_rng(1).normal(size=(num_rows, DIM)).astype(dtype)


def round_trip(wing, flow, z):
    x, log_det = wing.call(flow, "forward_and_log_det", z, None)
    back, inverse_log_det = wing.call(flow, "inverse_and_log_det", x, None)
    return x, log_det, back, inverse_log_det


@every_wing
@every_recipe
@both_dtypes
def test_ten_wild_layers_keep_the_bars(wing, name, dtype):
    spec, z = spec_of(name, 10), points(dtype)
    for seed in range(5):
        flow = wing.build(spec, wild_arrays(spec, seed=seed, dtype=dtype))
        x, log_det, back, inverse_log_det = round_trip(wing, flow, z)
        assert np.abs(x - z).max() > 1  # the weights do something
        assert np.abs(log_det).max() > 1
        assert np.abs(back - z).max() < BARS[dtype]
        assert np.abs(log_det + inverse_log_det).max() < BARS[dtype]


@every_wing
@every_recipe
def test_thirty_two_wild_layers_keep_the_bar_in_double_precision(wing, name):
    spec, z = spec_of(name, 32), points(np.float64)
    for seed in range(2):
        flow = wing.build(spec, wild_arrays(spec, seed=seed, dtype=np.float64))
        _, log_det, back, inverse_log_det = round_trip(wing, flow, z)
        assert np.abs(back - z).max() < BARS[np.float64]
        assert np.abs(log_det + inverse_log_det).max() < BARS[np.float64]


@every_wing
@every_recipe
@both_dtypes
def test_larger_weights_lose_no_more_digits_than_the_map_itself(wing, name, dtype):
    spec, z = spec_of(name, 10), points(dtype)
    rng = np.random.default_rng(2)
    for seed in range(2):
        flow = wing.build(spec, arrays_for(spec, seed=seed, dtype=dtype))
        x, log_det, back, inverse_log_det = round_trip(wing, flow, z)
        lost, lost_log_det = 0.0, 0.0
        for _ in range(5):
            signs = rng.choice([-1, 1], size=x.shape)
            other = (x * (1 + np.finfo(dtype).eps * signs)).astype(dtype)
            moved, moved_log_det = wing.call(flow, "inverse_and_log_det", other, None)
            lost = max(lost, np.abs(moved - back).max())
            lost_log_det = max(lost_log_det, np.abs(moved_log_det - inverse_log_det).max())
        assert np.abs(back - z).max() < 5 * lost
        assert np.abs(log_det + inverse_log_det).max() < 5 * lost_log_det


@every_wing
@every_recipe
@pytest.mark.parametrize("num_layers", [pytest.param(10, marks=pytest.mark.slow), 32])
def test_larger_weights_never_give_anything_that_is_not_finite(wing, name, num_layers):
    spec, z = spec_of(name, num_layers), points(np.float32)
    for seed in range(2):
        flow = wing.build(spec, arrays_for(spec, seed=seed, dtype=np.float32))
        for values in round_trip(wing, flow, z):
            assert np.isfinite(values).all()
        for values in wing.call(flow, "inverse_and_log_det", z, None):
            assert np.isfinite(values).all()


@every_wing
@every_recipe
@both_dtypes
@pytest.mark.parametrize("size", [1e4, 1e-30, 0.0])
def test_extreme_inputs_give_finite_outputs(wing, name, dtype, size):
    spec = spec_of(name, 10)
    flow = wing.build(spec, arrays_for(spec, dtype=dtype))
    z = (size * points(dtype)).astype(dtype)
    z[0] = np.where(np.arange(DIM) % 2, size, 1.0)  # extreme beside ordinary
    for method in ("forward_and_log_det", "inverse_and_log_det"):
        for values in wing.call(flow, method, z, None):
            assert np.isfinite(values).all()


BOUND, FREE = 1.5, 0.7
LAW_LAYER = coupling([1, 0], hidden=(), law=AffineLaw(bound=BOUND))


def log_scales(wing, raw):
    """The log-scale of a coordinate whose raw log-scale is the other coordinate."""
    arrays = {
        "conditioner.weight_0": np.array([[0.0], [1.0]]),
        "conditioner.bias_0": np.zeros(2),
        "free": np.array([[FREE]]),
    }
    flow = wing.build(LAW_LAYER, arrays)
    z = np.stack([raw, np.ones_like(raw)], -1)
    x, log_det = wing.call(flow, "forward_and_log_det", z, None)
    np.testing.assert_allclose(x[:, 1], np.exp(log_det), rtol=1e-14)
    return log_det


@every_wing
def test_the_soft_bound_is_never_passed(wing):
    size = np.logspace(-300, 300, 600)
    raw = np.concatenate([-size[::-1], size])
    scales = log_scales(wing, raw) - FREE
    assert np.abs(scales).max() <= BOUND + 1e-15
    assert (np.abs(scales[np.abs(raw) < 10]) < BOUND).all()
    assert (np.diff(scales) >= 0).all()
    np.testing.assert_allclose(scales[[0, -1]], [-BOUND, BOUND], rtol=1e-15)


@every_wing
def test_the_soft_bound_has_slope_one_at_zero_and_is_smooth(wing):
    step = 1e-4
    raw = step * np.arange(-2, 3)
    scales = log_scales(wing, raw)
    assert scales[2] == FREE
    slope = (scales[0] - 8 * scales[1] + 8 * scales[3] - scales[4]) / (12 * step)
    assert slope == pytest.approx(1.0, abs=1e-10)
    np.testing.assert_allclose(scales, FREE + BOUND * np.tanh(raw / BOUND), rtol=1e-15)


@every_wing
@pytest.mark.parametrize("num_layers", [1, 8, 9, 32])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_product_of_all_scales_stays_within_the_budget(wing, num_layers, sign):
    spec = r.maf(1, num_layers=num_layers, hidden_dims=())
    arrays = {a.name: np.zeros(a.shape) for a in spec.arrays()}
    for i in range(num_layers):
        arrays[f"layers.{i}.conditioner.bias_0"][1] = 1e6 * sign  # the raw log-scale
    _, log_det = wing.call(wing.build(spec, arrays), "forward_and_log_det", np.zeros((1, 1)), None)
    expected = sign * num_layers * log_scale_bound(num_layers)
    assert log_det[0] == pytest.approx(expected, rel=1e-14)
    assert abs(log_det[0]) <= TOTAL_LOG_SCALE * (1 + 1e-14)
