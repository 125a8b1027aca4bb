"""Every transform of the case table, in both wings."""

import copy
import pickle

import numpy as np
import pytest

from flowkit_core.specs import BatchNormSpec
from tests.cases import (
    CASES,
    CONTEXT_CASES,
    arrays_for,
    batch_of,
    directed,
    layers_of,
    params,
    points_for,
)
from tests.wings import WINGS

every_case = pytest.mark.parametrize("case", params(sorted(CASES)))
every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])

# Rounding of a round trip, relative to the size of what passes through it.
TOLERANCE = {np.float32: 2e-3, np.float64: 1e-10}


# All but logits, whose data side is an interval.
START_AS_IDENTITY = sorted(name for name, spec in CASES.items() if spec.data_interval is None)


@every_wing
@pytest.mark.parametrize("case", params(START_AS_IDENTITY))
@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(np.float32, id="f32", marks=pytest.mark.slow),
        pytest.param(np.float64, id="f64"),
    ],
)
def test_a_fresh_flow_is_exactly_the_identity(wing, case, dtype):
    spec = CASES[case]
    z, context = points_for(spec, dtype=dtype)
    x, log_det = wing.call(wing.fresh(spec, dtype), "forward_and_log_det", z, context)
    expected = z
    for layer in layers_of(spec):  # permutations are all that moves anything
        if layer.kind == "permutation":
            expected = expected[..., layer.order]
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(log_det, np.zeros(batch_of(spec, z)))
    assert x.dtype == log_det.dtype == dtype


@every_wing
@every_case
@both_dtypes
def test_round_trip_and_opposite_log_determinants(wing, case, dtype):
    spec = CASES[case]
    flow = wing.build(spec, arrays_for(spec, dtype=dtype))
    z, context = points_for(spec, dtype=dtype)
    x, log_det = wing.call(flow, "forward_and_log_det", z, context)
    back, inverse_log_det = wing.call(flow, "inverse_and_log_det", x, context)
    assert x.dtype == log_det.dtype == back.dtype == inverse_log_det.dtype == dtype
    assert np.abs(x - z).max() > 0.1  # the weights do something
    scale = 1 + np.abs(z).max() + np.abs(x).max()
    assert np.abs(back - z).max() < TOLERANCE[dtype] * scale
    assert np.abs(log_det + inverse_log_det).max() < TOLERANCE[dtype] * scale


@every_wing
@directed(CASES)
def test_log_determinant_is_that_of_the_autodiff_jacobian(wing, case, direction):
    spec = CASES[case]
    flow = wing.build(spec, arrays_for(spec))
    points, context = points_for(spec)
    _, log_det = wing.call(flow, direction, points, context)
    expected = wing.log_det_by_autodiff(flow, direction, points, context)
    np.testing.assert_allclose(log_det, expected, rtol=1e-8, atol=1e-8)


@every_wing
@every_case
def test_pushed_score_is_the_gradient_of_the_log_density(wing, case):
    spec = CASES[case]
    flow = wing.build(spec, arrays_for(spec))
    z, context = points_for(spec)
    x, log_det, score = wing.call(flow, "forward_and_score", z, -z, context)
    same_x, same_log_det = wing.call(flow, "forward_and_log_det", z, context)
    np.testing.assert_allclose(x, same_x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(log_det, same_log_det, rtol=1e-12, atol=1e-12)
    expected = wing.score_by_autodiff(flow, x, context)
    scale = np.abs(expected).max()
    assert np.abs(score - expected).max() < 1e-9 * scale


@every_wing
@pytest.mark.parametrize(
    "case",
    ["maf", "iaf_context", "realnvp_context", "compose", "qr_linear", "image_channels_context"],
)
@pytest.mark.parametrize("shape", [(), (2, 1, 3), (0,), (2, 0)], ids=str)
def test_batch_shapes(wing, case, shape):
    spec = CASES[case]
    flow = wing.build(spec, arrays_for(spec))
    points, context = points_for(spec, shape=shape)
    rows = points.reshape(-1, *spec.event_shape)
    row_context = None if context is None else context.reshape(-1, spec.context_dim)
    for direction in ("forward_and_log_det", "inverse_and_log_det"):
        values, log_det = wing.call(flow, direction, points, context)
        assert values.shape == points.shape
        assert log_det.shape == shape
        flat, flat_log_det = wing.call(flow, direction, rows, row_context)
        np.testing.assert_allclose(values.reshape(rows.shape), flat, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(log_det.reshape(-1), flat_log_det, rtol=1e-9, atol=1e-9)


@every_wing
@pytest.mark.parametrize("case", params(CONTEXT_CASES))
def test_context_matters_and_broadcasts(wing, case):
    spec = CASES[case]
    flow = wing.build(spec, arrays_for(spec))
    z, _ = points_for(spec, shape=(4, 1))
    context = np.random.default_rng(2).normal(size=(3, spec.context_dim))
    x, log_det = wing.call(flow, "forward_and_log_det", z, context)
    assert x.shape == (4, 3, *spec.event_shape)
    assert log_det.shape == (4, 3)
    for i in range(3):
        given = np.broadcast_to(context[i], (4, spec.context_dim))
        alone, alone_log_det = wing.call(flow, "forward_and_log_det", z[:, 0], given)
        np.testing.assert_allclose(x[:, i], alone, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(log_det[:, i], alone_log_det, rtol=1e-9, atol=1e-9)
    assert np.abs(x[:, 0] - x[:, 1]).min(0).max() > 1e-3


@every_wing
@directed(sorted(c for c, spec in CASES.items() if spec.arrays()))
def test_a_gradient_reaches_every_array(wing, case, direction):
    spec = CASES[case]
    flow = wing.build(spec, arrays_for(spec))
    points, context = points_for(spec)
    rng = np.random.default_rng(3)
    cotangents = rng.normal(size=points.shape), rng.normal(size=batch_of(spec, points))
    gradients = wing.weight_gradients(flow, direction, points, context, cotangents)
    assert set(gradients) == {a.name for a in spec.arrays()}
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all(), name
        if gradient.size and not _nothing_to_learn(spec, name):
            assert np.abs(gradient).max() > 0, name


def _nothing_to_learn(spec, name):
    """Arrays that are constants, or of which no entry is used: one coordinate has no triangle."""
    one_dim, last = spec.input_dim == 1, name.rpartition(".")[2]
    if last in BatchNormSpec.MEASURED:
        return True
    triangle = last in ("lower", "upper", "reflections")
    return one_dim and (triangle or name.endswith("conditioner.weight_0"))


@every_wing
@every_case
def test_copies_compute_the_same(wing, case):
    spec = CASES[case]
    flow = wing.build(spec, arrays_for(spec))
    z, context = points_for(spec)
    expected = wing.call(flow, "forward_and_log_det", z, context)
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert twin.spec == spec
        for got, want in zip(
            wing.call(twin, "forward_and_log_det", z, context), expected, strict=True
        ):
            np.testing.assert_array_equal(got, want)


@every_wing
@every_case
def test_repr_names_the_layers_and_the_number_of_parameters(wing, case):
    spec = CASES[case]
    text = repr(wing.build(spec, arrays_for(spec)))
    assert str(spec) in text
    assert f"{spec.num_parameters} parameters" in text
