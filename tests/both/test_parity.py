"""The same spec with the same arrays gives the same numbers in both wings."""

import numpy as np
import pytest

from tests.cases import CASES, arrays_for, batch_of, directed, params, points_for
from tests.wings import WINGS

RELATIVE = {np.float32: 1e-4, np.float64: 1e-10}
every_case = pytest.mark.parametrize("case", params(sorted(CASES)))
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
pyro_wing, numpyro_wing = WINGS["pyro"], WINGS["numpyro"]


def assert_same(a, b, dtype):
    """Equal to the promised precision, relative to the size of the values."""
    scale = 1 + np.abs(b).max(initial=0)
    assert np.abs(a - b).max(initial=0) <= RELATIVE[dtype] * scale


@every_case
@both_dtypes
@pytest.mark.parametrize("method", ["forward_and_log_det", "inverse_and_log_det"])
def test_values_and_log_determinants_agree(case, dtype, method):
    spec = CASES[case]
    arrays = arrays_for(spec, dtype=dtype)
    points, context = points_for(spec, dtype=dtype)
    results = [
        wing.call(wing.build(spec, arrays), method, points, context)
        for wing in (pyro_wing, numpyro_wing)
    ]
    for from_torch, from_jax in zip(*results, strict=True):
        assert_same(from_torch, from_jax, dtype)


@every_case
def test_scores_agree(case):
    spec = CASES[case]
    arrays = arrays_for(spec)
    z, context = points_for(spec)
    results = [
        wing.call(wing.build(spec, arrays), "forward_and_score", z, -z, context)
        for wing in (pyro_wing, numpyro_wing)
    ]
    for from_torch, from_jax in zip(*results, strict=True):
        assert_same(from_torch, from_jax, np.float64)


@directed(CASES)
def test_gradients_agree(case, direction):
    spec = CASES[case]
    arrays = arrays_for(spec)
    points, context = points_for(spec)
    rng = np.random.default_rng(4)
    cotangents = rng.normal(size=points.shape), rng.normal(size=batch_of(spec, points))
    from_torch, from_jax = (
        wing.weight_gradients(wing.build(spec, arrays), direction, points, context, cotangents)
        for wing in (pyro_wing, numpyro_wing)
    )
    assert set(from_torch) == set(from_jax)
    for name, gradient in from_torch.items():
        scale = 1 + np.abs(gradient).max(initial=0)
        assert np.abs(gradient - from_jax[name]).max(initial=0) <= 1e-8 * scale, name


@every_case
@both_dtypes
@pytest.mark.parametrize("source", ["pyro", "numpyro"])
def test_a_flow_saved_in_one_wing_loads_in_the_other(case, dtype, source, tmp_path):
    spec = CASES[case]
    saving, loading = WINGS[source], WINGS["numpyro" if source == "pyro" else "pyro"]
    flow = saving.build(spec, arrays_for(spec, dtype=dtype))
    saving.package.save_flow(flow, tmp_path / "flow.safetensors")
    loaded = loading.package.load_flow(tmp_path / "flow.safetensors")
    assert loaded.spec == spec
    for name, array in loading.named_arrays(loaded).items():
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, saving.named_arrays(flow)[name])
    points, context = points_for(spec, dtype=dtype)
    for a, b in zip(
        saving.call(flow, "inverse_and_log_det", points, context),
        loading.call(loaded, "inverse_and_log_det", points, context),
        strict=True,
    ):
        assert_same(a, b, dtype)
