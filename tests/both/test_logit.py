"""Logits of data in [0, 1], dequantisation, and the bits that come out."""

import jax
import numpy as np
import numpyro.distributions
import pyro.distributions
import pytest
import torch

import numpyro_flowkit
import pyro_flowkit
from flowkit_core import recipes as r
from tests.wings import WINGS

every_wing = pytest.mark.parametrize("wing", WINGS.values(), ids=WINGS.keys())
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


def noise(wing, seed):
    """The argument from which each wing draws."""
    if wing.name == "pyro":
        return {"generator": torch.Generator().manual_seed(seed)}
    return {"rng_key": jax.random.key(seed)}


@every_wing
@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_values_and_log_determinants_are_those_of_the_formula(wing, alpha):
    flow = wing.build(r.logit(2, alpha=alpha), {})
    x = np.array([[0.0, 1.0], [0.25, 0.5]])
    p = alpha + (1 - 2 * alpha) * x
    z, log_det = wing.call(flow, "inverse_and_log_det", x, None)
    np.testing.assert_allclose(z, np.log(p / (1 - p)), rtol=1e-9, atol=1e-15)
    expected = np.log((1 - 2 * alpha) / (p * (1 - p))).sum(-1)
    np.testing.assert_allclose(log_det, expected, rtol=1e-10)
    back, forward_log_det = wing.call(flow, "forward_and_log_det", z, None)
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(forward_log_det, -expected, rtol=1e-9)


@every_wing
@both_dtypes
def test_nothing_overflows_where_the_sigmoid_saturates(wing, dtype):
    flow = wing.build(r.logit(1, alpha=0.05), {})
    z = np.array([-800, -40, -20, -15, 0, 15, 20, 40, 800], dtype)[:, None]
    x, log_det = wing.call(flow, "forward_and_log_det", z, None)
    low, high = r.logit(1).data_interval
    assert (low - 1e-6 <= x).all()
    assert (x <= high + 1e-6).all()
    np.testing.assert_allclose(log_det[[0, -1]], -800 - np.log(0.9), rtol=1e-6)
    back, inverse_log_det = wing.call(flow, "inverse_and_log_det", x, None)
    assert np.isfinite(back).all()
    assert np.isfinite(inverse_log_det).all()
    assert (np.abs(back) <= np.abs(z) + 0.1 * np.abs(z)).all()


@every_wing
def test_data_outside_of_the_interval_have_no_logit(wing):
    flow = wing.build(r.logit(1), {})
    z, _ = wing.call(flow, "inverse_and_log_det", np.array([[-0.06], [1.06], [128.0]]), None)
    assert np.isnan(z).all()
    density = wing.package.FlowDistribution(flow, validate_args=True)
    if wing.name == "pyro":
        with pytest.raises(ValueError, match=r"within the support"):
            density.log_prob(torch.tensor([2.0]))
    else:
        with pytest.warns(UserWarning, match=r"Out-of-support"):
            density.log_prob(np.array([2.0]))


@every_wing
def test_the_density_integrates_to_one_over_the_interval(wing):
    spec = r.compose(r.diagonal_linear(1), r.logit(1, alpha=0.1))
    flow = wing.build(spec, {"layers.0.log_scale": np.zeros(1), "layers.0.shift": np.ones(1)})
    low, high = spec.data_interval
    width = (high - low) / 2000
    x = low + width * (0.5 + np.arange(2000))
    density = wing.package.FlowDistribution(flow)
    total = np.exp(wing.numpy(density.log_prob(wing.array(x[:, None])))).sum() * width
    np.testing.assert_allclose(total, 1, rtol=1e-5)


@every_wing
def test_nothing_can_follow_a_logit(wing):
    logit, linear = (wing.build(spec, arrays) for spec, arrays in (
        (r.logit(2), {}),
        (r.diagonal_linear(2), {"log_scale": np.zeros(2), "shift": np.zeros(2)}),
    ))  # fmt: skip
    compose = wing.package.compose
    with pytest.raises(ValueError, match=r"layers\[0\]: expected a transform whose codomain"):
        compose(logit, linear)
    inner = compose(linear, logit)
    with pytest.raises(ValueError, match=r"layers\[0\]: expected a transform whose codomain"):
        compose(inner, linear)
    support = wing.package.FlowDistribution(inner).support
    inside, outside = wing.array(np.array([0.0, 1.0])), wing.array(np.array([0.5, 1.2]))
    assert bool(support(inside) if wing.name == "numpyro" else support.check(inside))
    assert not bool(support(outside) if wing.name == "numpyro" else support.check(outside))


@every_wing
@pytest.mark.parametrize("num_levels", [2, 17, 256])
def test_levels_are_spread_over_their_bins(wing, num_levels):
    levels = np.tile(np.arange(num_levels), (400, 1))
    x = wing.numpy(wing.package.dequantise(wing.array(levels), num_levels, **noise(wing, 0)))
    assert x.shape == levels.shape
    assert (x >= 0).all()
    assert (x < 1).all()
    np.testing.assert_array_equal(np.floor(x.astype(np.float64) * num_levels + 1e-9), levels)
    u = x * num_levels - levels
    assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * u.size)
    assert abs(u.var() - 1 / 12) < 0.01
    again, other = (
        wing.numpy(wing.package.dequantise(wing.array(levels), num_levels, **noise(wing, seed)))
        for seed in (0, 1)
    )
    np.testing.assert_array_equal(again, x)
    assert (other != x).any()


@every_wing
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32], ids=lambda d: d.__name__)
def test_levels_of_any_dtype_are_taken(wing, dtype):
    levels = wing.array(np.array([[0, 255], [7, 128]], dtype))
    x = wing.numpy(wing.package.dequantise(levels, **noise(wing, 3)))
    np.testing.assert_array_equal(np.floor(x * 256), [[0, 255], [7, 128]])
    floating = np.float64 if wing.name == "numpyro" else np.float32  # the frameworks' defaults
    assert x.dtype == (dtype if dtype == np.float32 else floating)


@every_wing
def test_what_are_no_levels_is_refused(wing):
    def dequantise(values, num_levels=256):
        return wing.package.dequantise(wing.array(np.array(values)), num_levels, **noise(wing, 0))

    with pytest.raises(ValueError, match=r"levels: expected whole numbers 0 .. 255, got 256"):
        dequantise([3, 256])
    with pytest.raises(ValueError, match=r"whole numbers 0 .. 16, got -1"):
        dequantise([-1, 3], 17)
    with pytest.raises(ValueError, match=r"whole numbers 0 .. 255, got 0.5"):
        dequantise([0.5])
    with pytest.raises(ValueError, match=r"whole numbers 0 .. 255, got nan"):
        dequantise([np.nan])
    with pytest.raises(TypeError, match=r"levels: expected .* of real numbers, got .*bool"):
        dequantise([True])
    with pytest.raises(ValueError, match=r"num_levels: .* >= 2, got 1"):
        dequantise([0], 1)


def test_numpyro_dequantises_under_jit():
    key = jax.random.key(0)
    x = jax.jit(lambda levels: numpyro_flowkit.dequantise(levels, 4, rng_key=key))(np.arange(4))
    np.testing.assert_array_equal(np.floor(4 * x), np.arange(4))


@every_wing
def test_bits_of_the_uniform_density_are_all_bits(wing):
    """Logistic noise through a logit is uniform on the interval, 1 / (1 - 2 alpha) wide."""
    alpha, d = 0.05, 6
    flow = wing.build(r.logit(d, alpha=alpha), {})
    if wing.name == "pyro":
        base = torch.distributions.TransformedDistribution(
            pyro.distributions.Uniform(torch.zeros(d).double(), torch.ones(d).double()),
            [torch.distributions.transforms.SigmoidTransform().inv],
        )
        base = torch.distributions.Independent(base, 1)
    else:
        base = numpyro.distributions.Logistic(np.zeros(d), np.ones(d)).to_event(1)
    density = wing.package.FlowDistribution(flow, base)
    levels = np.random.default_rng(0).integers(0, 256, size=(10, d))
    x = wing.package.dequantise(wing.array(levels.astype(np.float64)), **noise(wing, 1))
    bits = wing.package.bits_per_dim(density.log_prob(x), d, 256)
    np.testing.assert_allclose(wing.numpy(bits), 8 - np.log2(1 - 2 * alpha), rtol=1e-9)


@every_wing
def test_guides_refuse_a_data_side_that_is_an_interval(wing):
    """A guide ends in affine layers, which no interval can be followed by."""
    if wing.name == "pyro":

        def model():
            pyro.sample("x", pyro.distributions.Normal(torch.zeros(2), 1).to_event(1))

        guide = pyro_flowkit.AutoFlow(model, pyro_flowkit.logit)
        with pytest.raises(ValueError, match=r"expected a transform whose codomain is real"):
            guide()
    else:

        def model():
            numpyro.sample("x", numpyro.distributions.Normal(np.zeros(2), 1).to_event(1))

        guide = numpyro_flowkit.AutoFlow(model, numpyro_flowkit.logit)
        with (
            numpyro.handlers.seed(rng_seed=0),
            pytest.raises(ValueError, match=r"expected a transform whose codomain is real"),
        ):
            guide()


@every_wing
def test_data_outside_of_the_interval_are_not_fitted(wing):
    spec = r.compose(r.diagonal_linear(2), r.act_norm(2), r.logit(2))
    flow = wing.build(spec, {a.name: np.zeros(a.shape) for a in spec.arrays()})
    x = np.random.default_rng(0).random((20, 2))
    x[[3, 7], 1] = 128
    expected = r"data: expected rows on the flow's data side, .*1.0555.* in rows 3, 7; scale"
    with pytest.raises(ValueError, match=expected):
        wing.package.fit_density(flow, x, progress=False)
    with pytest.raises(ValueError, match=r"x: expected points on the flow's data side, .*1.0555"):
        wing.package.start_from_data(flow, wing.array(x))
    assert flow.awaits_data
