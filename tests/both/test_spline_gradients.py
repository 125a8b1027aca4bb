"""Derivatives of the spline law in both wings: right where they exist, finite everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import numpyro_flowkit.laws
import pyro_flowkit.laws
from flowkit_core.specs import SplineLaw
from numpyro_flowkit.laws import rational_quadratic as jax_rational_quadratic
from pyro_flowkit.laws import rational_quadratic
from tests.splines import draw, pullback, run

every_wing = pytest.mark.parametrize("wing", ["pyro", "numpyro"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
both_directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


@every_wing
@both_directions
@pytest.mark.parametrize("num_bins", [2, 3, 8, pytest.param(32, marks=pytest.mark.slow)])
def test_log_slope_is_that_of_autodiff(wing, direction, num_bins):
    law = SplineLaw(num_bins, bound=3.0)
    points, params = draw(law, 2000, seed=2)
    _, log_slope = run(wing, direction, law, points, params)
    slope, _ = pullback(wing, direction, law, points, params, (1.0, 0.0))
    np.testing.assert_allclose(np.log(slope), log_slope, rtol=1e-8, atol=1e-8)


EXTREMES = [0.0, 1e-38, -1e-38, 1e30, -1e30]


@every_wing
@both_dtypes
@both_directions
def test_gradients_are_finite_at_knots_at_edges_and_far_outside(wing, direction, dtype):
    law = SplineLaw(num_bins=4, bound=2.0)
    inner = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 0.5, -1.5], dtype)
    beside = [np.nextafter(inner, dtype(side), dtype=dtype) for side in (-9, 9)]
    points = np.concatenate([inner, *beside, np.array(EXTREMES, dtype)])
    zeros = np.zeros((law.num_conditioned + 2, len(points)), dtype)  # knots at -2, -1 .. 2
    _, drawn = draw(law, len(points), seed=7, dtype=dtype)
    for params in (zeros, drawn):
        for cotangents in ((1.0, 0.0), (0.0, 1.0)):
            given = tuple(np.array(c, dtype) for c in cotangents)
            gradients = pullback(wing, direction, law, points, params, given)
            for gradient in gradients:
                assert np.isfinite(gradient).all()


@every_wing
@both_dtypes
@both_directions
def test_extreme_parameters_give_finite_values_and_gradients(wing, direction, dtype):
    law = SplineLaw(num_bins=3, bound=2.0)
    rng = np.random.default_rng(8)
    points = np.linspace(-2.5, 2.5, 400).astype(dtype)
    params = rng.choice(
        [*EXTREMES, 1.0, -30.0, 3.4e38, -3.4e38], size=(law.num_conditioned + 2, 400)
    ).astype(dtype)
    params[-2:] = 0.0
    values, log_slope = run(wing, direction, law, points, params)
    assert np.isfinite(values).all()
    assert np.abs(values).max() <= 2.5
    assert np.abs(log_slope).max() < 12
    one = dtype(1)
    for gradient in pullback(wing, direction, law, points, params, (one, one)):
        assert np.isfinite(gradient).all()


@every_wing
@pytest.mark.parametrize("scale", [0.0, 1.4])
def test_gradients_of_the_inverse_are_the_implicit_ones(wing, scale):
    law = SplineLaw(num_bins=3, bound=1.5)
    z, params = draw(law, 300, scale=scale or 1.0, seed=10)
    if scale == 0:
        params[:] = 0.0
    # Every third spline is symmetric and met at its centre, where both branches of the root meet.
    params[:, ::3] = np.repeat(
        [[0.3], [-0.2], [0.3], [0.1], [0.4], [0.1], [0.7], [0.7], [0], [0]], 100, 1
    )
    z[::3] = 0.0
    x, _ = run(wing, "forward", law, z, params)
    of_x, of_params = pullback(wing, "forward", law, z, params, (1.0, 0.0))
    of_slope, of_slope_params = pullback(wing, "forward", law, z, params, (0.0, 1.0))
    got_x, got_params = pullback(wing, "inverse", law, x, params, (1.0, 0.0))
    np.testing.assert_allclose(got_x, 1 / of_x, rtol=1e-9)
    np.testing.assert_allclose(got_params, -of_params / of_x, rtol=1e-8, atol=1e-8)
    # The inverse's log-slope is -L(z(x, p), p).
    got_x, got_params = pullback(wing, "inverse", law, x, params, (0.0, 1.0))
    np.testing.assert_allclose(got_x, -of_slope / of_x, rtol=1e-7, atol=1e-7)
    expected = of_slope * of_params / of_x - of_slope_params
    np.testing.assert_allclose(got_params, expected, rtol=1e-7, atol=1e-7)


@both_directions
def test_second_derivatives_agree_between_the_wings_and_with_differences(direction):
    law = SplineLaw(num_bins=3, bound=1.5)
    point, params = draw(law, 1, scale=0.7, seed=11)
    point[:] = 0.4
    inputs = np.concatenate([point, params[:, 0]])

    def with_torch(inputs):
        call = getattr(pyro_flowkit.laws.law_from_spec(law), direction)
        value, log_slope = call(inputs[0], tuple(inputs[1:]))
        return value + 0.7 * log_slope

    def with_jax(inputs):
        call = getattr(numpyro_flowkit.laws.law_from_spec(law), direction)
        value, log_slope = call(inputs[0], tuple(inputs[1:]))
        return value + 0.7 * log_slope

    at = torch.tensor(inputs)
    forward_over_reverse = torch.func.hessian(with_torch)(at).numpy()
    twice_backward = torch.autograd.functional.hessian(with_torch, at).numpy()
    from_jax = np.asarray(jax.jit(jax.hessian(with_jax))(jnp.asarray(inputs)))
    np.testing.assert_allclose(forward_over_reverse, from_jax, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(twice_backward, from_jax, rtol=1e-8, atol=1e-9)
    gradient, step = torch.func.grad(with_torch), 1e-6
    for i in range(len(inputs)):
        shift = torch.zeros(len(inputs), dtype=torch.float64)
        shift[i] = step
        difference = (gradient(at + shift) - gradient(at - shift)).numpy() / (2 * step)
        np.testing.assert_allclose(difference, from_jax[i], rtol=1e-5, atol=1e-6)


def test_where_the_two_branches_of_the_root_meet_the_slope_is_that_of_autodiff():
    """At this point of this bin m, on whose sign they depend, is exactly 0."""
    corners = [[0.0, 1.0], [0.0, 1.0], [1.0, 3.0]]
    at = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    found = rational_quadratic.inverse(at, torch.tensor(corners, dtype=torch.float64))
    (slope,) = torch.autograd.grad(at + found[0], at)
    assert torch.log(slope).item() == pytest.approx(found[1].item(), abs=1e-14)

    def point(v):
        difference, log_slope = jax_rational_quadratic.inverse(v, jnp.array(corners))
        return v + difference, log_slope

    slope, log_slope = jax.grad(point, has_aux=True)(0.25)
    assert jnp.log(slope).item() == pytest.approx(log_slope.item(), abs=1e-14)
