"""Guides of NumPyro that start where the posterior is."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import SVI, Trace_ELBO, init_to_value
from numpyro.optim import Adam

import numpyro_flowkit as fk
from flowkit_core.warm_start import mean_field
from numpyro_flowkit.guides.layers import has_frame
from tests.numpyro import models
from tests.numpyro.models import GUIDES, assert_same_leaves

# Older versions of JAX have it elsewhere.
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

TINY = {"num_layers": 1, "hidden_dims": (8,), "base": "normal"}
KEY = jax.random.key(0)
started = functools.partial(fk.warm_start, rng_key=KEY, num_starts=2)


@functools.partial(jax.jit, static_argnums=(1, 2))
def terms(params, guide, model, key):
    """``log p - log q`` of 2000 draws of a guide."""
    one = functools.partial(Trace_ELBO().loss, param_map=params, model=model, guide=guide)
    return -jax.vmap(one)(jax.random.split(key, 2000))


def elbo_of(guide, params, model=models.regression):
    values = np.asarray(terms(params, guide, model, jax.random.key(7)))
    return values.mean(), values.std(ddof=1) / math.sqrt(len(values))


@pytest.fixture(scope="module")
def found():
    """A guide of the regression and what a warm start finds for it."""
    guide = fk.AutoIAF(models.regression, **TINY)
    return guide, started(guide)


def check_regression(gaussian, tolerance):
    mean, covariance = models.regression_posterior()
    np.testing.assert_allclose(gaussian.loc, mean, atol=tolerance)
    np.testing.assert_allclose(gaussian.scale @ gaussian.scale.T, covariance, atol=tolerance)


def test_a_normal_posterior_is_found(found):
    check_regression(found[1].gaussian, 1e-9)
    assert (found[1].method, found[1].num_modes) == ("laplace", 1)


@pytest.mark.parametrize("name", ["maf", "realnvp"])
def test_pathfinder_finds_it_nearly(name):
    start = started(GUIDES[name](models.regression, **TINY), method="pathfinder")
    check_regression(start.gaussian, 0.05)  # of a standard deviation of about 0.4
    assert start.method == "pathfinder"


def test_the_guide_then_is_the_posterior(found):
    guide, start = found
    elbo, error = elbo_of(guide, start.params)
    assert abs(elbo - models.regression_evidence()) < 1e-8
    assert error < 1e-8  # log p - log q is the evidence at every draw
    posterior = guide.get_posterior(start.params)
    draws = posterior.sample(jax.random.key(1), (20_000,))
    np.testing.assert_allclose(draws.mean(0), start.gaussian.loc, atol=0.02)
    np.testing.assert_allclose(draws.std(0), start.gaussian.sds, rtol=0.03)


def test_svi_goes_on_from_the_parameters(found):
    guide, start = found
    svi = SVI(models.regression, guide, Adam(1e-3), Trace_ELBO(num_particles=2))
    result = svi.run(KEY, 5, progress_bar=False, init_params=start.params)
    np.testing.assert_allclose(-result.losses, models.regression_evidence(), atol=0.05)
    assert abs(-result.losses[0] - models.regression_evidence()) < 1e-8
    one, two = (guide.get_transform(p).layers[-1] for p in (start.params, result.params))
    assert_same_leaves(one, two)  # the frame is frozen
    assert has_frame(guide.get_transform(start.params))


def test_latents_of_any_scale_and_support_are_found():
    def model():
        far = numpyro.sample("far", dist.Normal(1e4, 1e-2))
        small = numpyro.sample("small", dist.LogNormal(-5.0, 0.01))
        numpyro.sample("share", dist.Beta(300.0, 700.0))
        numpyro.sample("y", dist.Normal(small, 1.0), obs=0.0)
        numpyro.sample("z", dist.Normal(far, 1e2), obs=1e4)

    guide = fk.AutoIAF(model, **TINY)
    start = started(guide)
    median = guide.median(start.params)
    assert float(median["far"]) == pytest.approx(1e4, rel=1e-6)
    assert float(median["small"]) == pytest.approx(math.exp(-5.0), rel=1e-3)
    assert float(median["share"]) == pytest.approx(0.3, abs=0.01)
    sds = (1e-2, 1e-2, 1 / math.sqrt(300 * 0.7))
    np.testing.assert_allclose(np.sort(start.gaussian.sds), sds, rtol=1e-3)


def test_of_two_modes_the_higher_one_wins_wherever_the_guide_starts():
    def two_modes():
        x = numpyro.sample("x", dist.Normal(0.0, 10.0))
        near = dist.Normal(-6.0, 0.5).log_prob(x)
        far = dist.Normal(6.0, 0.5).log_prob(x) + 12.0
        numpyro.factor("modes", jnp.logaddexp(near, far))

    guide = fk.AutoIAF(two_modes, init_loc_fn=init_to_value(values={"x": -6.0}), **TINY)
    start = fk.warm_start(guide, rng_key=KEY, num_starts=6)
    assert start.gaussian.loc[0] == pytest.approx(6.0, abs=0.1)
    assert start.num_modes == 2


def test_a_funnel_gets_a_finite_start():
    def funnel():
        v = numpyro.sample("v", dist.Normal(0.0, 3.0))
        with numpyro.plate("rows", 4):
            numpyro.sample("x", dist.Normal(0.0, jnp.exp(v / 2)))

    start = started(fk.AutoIAF(funnel, **TINY))
    assert np.isfinite(start.gaussian.scale).all()
    assert -10 < start.elbo < 4 * start.elbo_stderr


def test_the_same_key_gives_the_same_start(found):
    again = started(fk.AutoIAF(models.regression, **TINY))
    assert_same_leaves(found[1].params, again.params)
    assert found[1].elbo == again.elbo


def test_the_global_random_state_stays_as_it_was(found):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    started(found[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_given_parameters_are_kept_but_for_the_last_layers(found):
    guide, start = found
    name = models.FLOW
    trained = {name: models.large(start.params[name]), "another": jnp.ones(2)}
    again = started(guide, params=trained)
    assert_same_leaves(again.params["another"], trained["another"])
    assert_same_leaves(again.params[name].layers[0], trained[name].layers[0])
    assert_same_leaves(again.params[name].layers[-1], start.params[name].layers[-1])


def test_a_models_own_parameters_are_among_the_parameters():
    def hyper():
        scale = numpyro.param("scale", 2.0, constraint=dist.constraints.positive)
        x = numpyro.sample("x", dist.Normal(0.0, scale))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=2.0)

    guide = fk.AutoIAF(hyper, **TINY)
    one = started(guide)
    assert float(one.params["scale"]) == 2.0
    assert one.gaussian.loc[0] == pytest.approx(1.6, abs=1e-6)
    two = started(guide, params={"scale": jnp.asarray(1.0)})
    assert two.gaussian.loc[0] == pytest.approx(1.0, abs=1e-6)


def test_a_subsampled_plate_gives_a_start_from_some_rows():
    def model(data):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", len(data), subsample_size=10) as rows:
            numpyro.sample("y", dist.Normal(x, 1.0), obs=data[rows])

    start = started(fk.AutoIAF(model, **TINY), jnp.linspace(0.0, 4.0, 40))
    assert start.gaussian.sds[0] == pytest.approx(1 / math.sqrt(41), rel=1e-6)
    # The mean of 10 of 40 rows of standard deviation 1.17 is off by 0.32.
    assert abs(start.gaussian.loc[0] - 2.0) < 1.3


def test_above_128_latents_the_frame_is_diagonal(monkeypatch):
    monkeypatch.setattr(mean_field, "NUM_STEPS", 200)

    def wide():
        numpyro.sample("x", dist.Normal(jnp.arange(130.0), 0.1).to_event(1))

    start = fk.warm_start(fk.AutoRealNVP(wide, **TINY), rng_key=KEY, num_starts=1)
    assert start.gaussian.scale.shape == (130,)
    np.testing.assert_allclose(start.gaussian.loc, np.arange(130), atol=0.02)


def test_in_float32_it_is_found_to_single_precision():
    def single():
        weights = numpyro.sample("weights", dist.Normal(jnp.zeros(2, jnp.float32), 2.0).to_event(1))
        design, data = (jnp.asarray(a, jnp.float32) for a in (models.DESIGN, models.DATA))
        with numpyro.plate("rows", 5):
            numpyro.sample("y", dist.Normal(design @ weights, jnp.float32(0.8)), obs=data)

    with enable_x64(False):
        start = started(fk.AutoIAF(single, **TINY))
    check_regression(start.gaussian, 1e-5)
    assert {leaf.dtype for leaf in jax.tree.leaves(start.params)} == {np.dtype(np.float32)}
