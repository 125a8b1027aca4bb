"""Planar and Sylvester layers in both wings: inverses, determinants, extreme weights, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.func import functional_call, vmap

import pyro_flowkit
from flowkit_core import recipes as r
from flowkit_core.numerics import MIN_RESIDUAL_SLOPE
from flowkit_core.reports import InverseNotConverged
from flowkit_core.specs.residual import MAX_ITERATIONS
from numpyro_flowkit.transforms import residual_activations as in_jax
from pyro_flowkit.transforms import residual_activations as in_torch
from tests.cases import arrays_for, points_for
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
BARS = {np.float32: 1e-5, np.float64: 1e-10}
NUM_LAYERS = 10_000


def layer(recipe, *args, **kwargs):
    """The spec of a single layer."""
    return recipe(*args, num_layers=1, **kwargs).layers[0]


LAYERS = {
    "planar": layer(r.planar, 6),
    "planar_leaky": layer(r.planar, 6, activation="leaky_relu"),
    "orthogonal": layer(r.sylvester, 6, rank=4),
    "householder": layer(r.sylvester, 5, rank=5, kind="householder", num_reflections=3),
    "one reflection": layer(r.sylvester, 4, rank=3, kind="householder", num_reflections=1),
    "triangular": layer(r.sylvester, 4, rank=3, kind="triangular"),
}


def cheap_first(names, quick):
    """Both wings and these layers; in NumPyro, where every one is compiled, most are slow tests."""
    return [
        pytest.param(
            wing,
            name,
            id=f"{name}-{wing.name}",
            marks=pytest.mark.slow if wing.name == "numpyro" and name not in quick else (),
        )
        for wing in WINGS.values()
        for name in names
    ]


def many_in_torch(spec, arrays, method, points):
    flow = pyro_flowkit.build(spec, {k: torch.from_numpy(a[0]) for k, a in arrays.items()})

    class Call(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def forward(self, values):
            return getattr(self.flow, method)(values)

    named = {f"flow.{k}": torch.from_numpy(a) for k, a in arrays.items()}
    call = Call()
    found = vmap(lambda w, v: functional_call(call, w, (v,)))(named, torch.from_numpy(points))
    return tuple(a.detach().numpy() for a in found)


def many_in_jax(spec, arrays, method, points):
    wing = WINGS["numpyro"]
    structure = jax.tree.structure(wing.build(spec, {k: a[0] for k, a in arrays.items()}))
    flows = jax.tree.unflatten(structure, [jnp.asarray(a) for a in arrays.values()])
    return wing.call(flows, method, points)


MANY = {"pyro": many_in_torch, "numpyro": many_in_jax}


@every_wing
@both_dtypes
@pytest.mark.parametrize("name", ["planar", pytest.param("orthogonal", marks=pytest.mark.slow)])
def test_inverses_of_ten_thousand_random_layers(wing, name, dtype):
    spec, rng = LAYERS[name], np.random.default_rng(0)
    arrays = {
        a.name: (1.4 / np.sqrt(max(a.fan_in, 4)) * rng.normal(size=(NUM_LAYERS, *a.shape)))
        for a in spec.arrays()
    }
    arrays = {k: a.astype(dtype) for k, a in arrays.items()}
    x = (3 * rng.normal(size=(NUM_LAYERS, spec.input_dim))).astype(dtype)
    z, log_det = MANY[wing.name](spec, arrays, "inverse_and_log_det", x)
    back, forward_log_det = MANY[wing.name](spec, arrays, "forward_and_log_det", z)
    assert z.dtype == log_det.dtype == dtype
    assert np.abs(z - x).max() > 1
    assert (np.abs(back - x) / (1 + np.abs(x))).max() < BARS[dtype]
    assert np.abs(log_det + forward_log_det).max() < 100 * BARS[dtype]


@every_wing
@pytest.mark.parametrize("kind", r.residual.SYLVESTER_KINDS)
def test_the_sylvester_determinant_is_that_of_the_jacobian_where_pyros_is_not(wing, kind):
    """Weights of +-0.3, where Pyro's own Sylvester says 0.048 for a log-determinant of 0.059."""
    spec = layer(r.sylvester, 4, rank=4 if kind == "householder" else 3, kind=kind)
    rng = np.random.default_rng(1)
    arrays = {a.name: 0.3 * rng.choice([-1.0, 1.0], size=a.shape) for a in spec.arrays()}
    flow = wing.build(spec, arrays)
    z, _ = points_for(spec)
    _, log_det = wing.call(flow, "forward_and_log_det", z, None)
    expected = wing.log_det_by_autodiff(flow, "forward_and_log_det", z, None)
    assert np.abs(expected).max() > 0.02
    np.testing.assert_allclose(log_det, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("wing", "name"), cheap_first(LAYERS, {"planar", "orthogonal"}))
def test_gradients_through_the_inverse_are_those_of_finite_differences(wing, name):
    spec = LAYERS[name]
    arrays, (x, _) = arrays_for(spec), points_for(spec, (3,))
    rng = np.random.default_rng(2)
    cotangents = rng.normal(size=x.shape), rng.normal(size=len(x))

    def loss(arrays):
        found = wing.call(wing.build(spec, arrays), "inverse_and_log_det", x, None)
        return sum((o * c).sum() for o, c in zip(found, cotangents, strict=True))

    flow = wing.build(spec, arrays)
    gradients = wing.weight_gradients(flow, "inverse_and_log_det", x, None, cotangents)
    step = 1e-6
    for array, gradient in gradients.items():
        for index in np.ndindex(gradient.shape):
            moved = [dict(arrays), dict(arrays)]
            for sign, shifted in zip((1, -1), moved, strict=True):
                shifted[array] = arrays[array].copy()
                shifted[array][index] += sign * step
            expected = (loss(moved[0]) - loss(moved[1])) / (2 * step)
            assert gradient[index] == pytest.approx(expected, rel=1e-6, abs=1e-7), (array, index)


def in_numpy(module, values):
    return torch.from_numpy(values) if module is in_torch else jnp.asarray(values)


@pytest.mark.parametrize("module", [in_torch, in_jax], ids=["pyro", "numpyro"])
@both_dtypes
@pytest.mark.parametrize("activation", ["tanh", "leaky_relu"])
def test_the_equation_of_one_number_is_solved_whatever_the_numbers(module, activation, dtype):
    size = np.logspace(-30, 8, 200)
    v = np.concatenate([-size, [0.0], size, np.linspace(-20, 20, 200)])
    gain = np.concatenate(
        [[-0.99, -0.9, -0.5, -1e-3, 0.0, 1e-3], np.logspace(-1, 6, 30), v[v > 1][:40]]
    )
    gain, v = (in_numpy(module, a.astype(dtype)) for a in (gain[:, None], v))
    function = module.RESIDUAL_ACTIVATIONS[activation]
    y = function.solve(gain, v, 20)
    h, _ = function.bend(y)
    error = np.abs(np.asarray(y + gain * h - v))
    scale = np.abs(np.asarray(v)) + np.abs(np.asarray(y)) + np.abs(np.asarray(gain * h))
    assert np.isfinite(np.asarray(y)).all()
    assert (error <= 8 * np.finfo(dtype).eps * scale).all()
    assert MAX_ITERATIONS >= 2 * 20


@pytest.mark.parametrize("module", [in_torch, in_jax], ids=["pyro", "numpyro"])
@both_dtypes
def test_any_product_becomes_a_gain_above_minus_one_and_zero_stays_zero(module, dtype):
    size = np.logspace(-30, 30, 301)
    product = np.concatenate([-size[::-1], [0.0], size]).astype(dtype)
    factor, gain = (np.asarray(a) for a in module.invertible(in_numpy(module, product)))
    assert factor[301] == 1
    assert gain[301] == 0
    assert np.isfinite(factor).all()
    assert np.isfinite(gain).all()
    assert (gain >= -(1 - MIN_RESIDUAL_SLOPE)).all()
    assert (np.diff(gain) >= 0).all()
    np.testing.assert_allclose(factor * product, gain, rtol=100 * np.finfo(dtype).eps)
    small = np.abs(product) < 1e-4
    np.testing.assert_allclose(gain[small], product[small], rtol=1e-4)


def extreme(spec, case):
    """Arrays at the edges: zeros, a contraction and an expansion far past the bounds."""
    arrays = {k: a.astype(np.float32) for k, a in arrays_for(spec).items()}
    inner, outer = ("weight", "direction") if spec.kind == "planar" else ("inner", "outer")
    if case == "all zero":
        return {k: np.zeros_like(a) for k, a in arrays.items()}
    if case == "zero inside":
        arrays[inner] = np.zeros_like(arrays[inner])
        return arrays
    sign = {"contracting": -1, "expanding": 1}[case]
    arrays[outer] = sign * np.float32(1e3) * arrays[inner]
    arrays[inner] = np.float32(1e3) * arrays[inner]
    return arrays


@pytest.mark.parametrize("case", ["all zero", "zero inside", "contracting", "expanding"])
@pytest.mark.parametrize(("wing", "name"), cheap_first(["planar", "householder"], {"planar"}))
def test_extreme_weights_give_finite_numbers_and_gradients(wing, name, case):
    spec = LAYERS[name]
    arrays = extreme(spec, case)
    if "reflections" in arrays and case == "zero inside":
        arrays["reflections"] = np.zeros_like(arrays["reflections"])
    flow = wing.build(spec, arrays)
    z, _ = points_for(spec, dtype=np.float32)
    cotangents = np.ones_like(z), np.ones(len(z), np.float32)
    for method in ("forward_and_log_det", "inverse_and_log_det"):
        for values in wing.call(flow, method, z, None):
            assert np.isfinite(values).all()
        found = wing.weight_gradients(flow, method, z, None, cotangents)
        for array, gradient in found.items():
            assert gradient is None or np.isfinite(gradient).all(), array
    for values in wing.call(flow, "forward_and_score", z, -z, None):
        assert np.isfinite(values).all()


@every_wing
@pytest.mark.parametrize("recipe", ["planar", "sylvester"])
def test_too_small_a_budget_is_an_error_with_a_name(wing, recipe):
    kwargs = {"rank": 2} if recipe == "sylvester" else {}
    spec = getattr(r, recipe)(3, num_layers=2, max_iterations=1, **kwargs)
    flow = wing.build(spec, arrays_for(spec))
    x, _ = points_for(spec)
    with pytest.raises(InverseNotConverged, match=r"of 6 points .* larger max_iterations"):
        flow.inverse_and_log_det(wing.array(x))
    flow.forward_and_log_det(wing.array(x))  # needs no iteration
    assert wing.package.InverseNotConverged is InverseNotConverged


def test_under_jit_a_budget_too_small_gives_nan_and_mapped_in_torch_an_error():
    spec = r.planar(3, num_layers=1, max_iterations=1)
    arrays, (x, _) = arrays_for(spec), points_for(spec)
    wing = WINGS["numpyro"]
    z, _ = wing.call(wing.build(spec, arrays), "inverse_and_log_det", x, None)
    assert np.isnan(z).any()
    flow = WINGS["pyro"].build(spec, arrays)
    with pytest.raises(InverseNotConverged, match="of 6 points"):
        vmap(flow.inverse_and_log_det)(torch.from_numpy(x))


@every_wing
def test_a_piecewise_linear_layer_needs_no_budget(wing):
    spec = r.sylvester(3, num_layers=2, rank=3, activation="leaky_relu", max_iterations=1)
    flow = wing.build(spec, arrays_for(spec))
    x, _ = points_for(spec)
    z, _ = wing.call(flow, "inverse_and_log_det", x, None)
    back, _ = wing.call(flow, "forward_and_log_det", z, None)
    np.testing.assert_allclose(back, x, rtol=1e-12, atol=1e-12)


@every_wing
def test_points_that_are_no_numbers_are_not_a_failure_of_the_iteration(wing):
    spec = r.planar(2, num_layers=1)
    flow = wing.build(spec, arrays_for(spec))
    z, log_det = flow.inverse_and_log_det(wing.array(np.array([[np.nan, 0.0], [1.0, 2.0]])))
    assert np.isnan(wing.numpy(z)[0]).all()
    assert np.isfinite(wing.numpy(z)[1]).all()
    assert np.isfinite(wing.numpy(log_det)[1])
