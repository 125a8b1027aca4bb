"""Diagnoses of guides in NumPyro: known evidence, ratios draw by draw, guides of other kinds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import (
    AutoBNAFNormal,
    AutoDiagonalNormal,
    AutoIAFNormal,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
)
from numpyro.infer.util import log_density

import numpyro_flowkit as fk
from tests.numpyro import models
from tests.numpyro import normal_guides as normal
from tests.numpyro.diagnosed import exact, guide_at

KEY = jax.random.key(0)


@pytest.mark.parametrize("kind", [normal.AutoMAF, normal.AutoIAF, normal.AutoRealNVP])
def test_an_exact_guide_has_the_evidence_for_its_elbo(kind):
    guide, params = exact(kind)
    found = fk.diagnose(guide, params, rng_key=KEY, num_samples=2000)
    assert found.elbo == pytest.approx(models.regression_evidence(), abs=1e-6)
    assert found.log_evidence == pytest.approx(models.regression_evidence(), abs=1e-6)
    assert found.elbo_stderr < 1e-6
    assert found.level == "good"
    assert found.ess_fraction == pytest.approx(1, abs=1e-6)
    mean, covariance = models.regression_posterior()
    for i, p in enumerate(found.parameters):
        assert p.name == f"weights[{i}]"
        assert p.raw_mean == pytest.approx(mean[i], abs=0.05)
        assert p.raw_sd == pytest.approx(covariance[i, i] ** 0.5, rel=0.07)


def single(scale):
    x = numpyro.sample("x", dist.Normal(jnp.zeros((), scale.dtype), scale))
    numpyro.sample("y", dist.Normal(x, scale), obs=jnp.ones((), scale.dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_precision_is_that_of_the_model(dtype):
    scale = jnp.ones((), dtype)
    guide = normal.AutoRealNVP(
        single, init_loc_fn=numpyro.infer.init_to_value(values={"x": scale / 2}),
        init_scale=0.5**0.5, **models.SMALL,
    )  # fmt: skip
    params = models.call(guide, scale)[2]
    found = fk.diagnose(guide, params, scale, rng_key=KEY, num_samples=500)
    assert found.draws["x"].dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    assert found.elbo_stderr < 100 * eps
    assert found.elbo == pytest.approx(-0.25 - 0.5 * math.log(4 * math.pi), abs=100 * eps)
    assert found.level == "good"


def test_a_guide_that_is_too_narrow_is_not_trusted():
    mean, _ = models.regression_posterior()
    guide, params = guide_at(models.regression, {"weights": mean}, 0.03)
    found = fk.diagnose(guide, params, rng_key=KEY)
    assert found.khat > found.khat_threshold
    assert (found.trusted, found.level) == (False, "do not trust")
    assert found.gap > 0.5


@pytest.mark.parametrize("typed", [True, False])
def test_chunks_change_nothing_and_the_key_decides(typed):
    make = jax.random.key if typed else jax.random.PRNGKey
    guide, params = models.started("iaf", models.hierarchy)
    whole = fk.diagnose(guide, params, rng_key=make(0), num_samples=300, chunk_size=1000)
    parts = fk.diagnose(guide, params, rng_key=make(0), num_samples=300, chunk_size=7)
    other = fk.diagnose(guide, params, rng_key=make(1), num_samples=300)
    np.testing.assert_allclose(parts.log_ratios, whole.log_ratios, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(parts.draws["theta"], whole.draws["theta"], rtol=1e-9, atol=1e-9)
    assert not np.array_equal(other.log_ratios, parts.log_ratios)


def assert_ratios(found, guide, params, model):
    """Against NumPyro's own densities, draw by draw."""
    latents = guide._init_locs
    for i in range(3):
        values = {name: found.draws[name][i] for name in latents}
        joint, _ = log_density(numpyro.handlers.seed(model, 0), (), {}, values)
        parts, log_jacobian = [], 0.0
        for name, value in values.items():
            transform = dist.biject_to(guide.prototype_trace[name]["fn"].support)
            u = transform.inv(value)
            parts.append(jnp.ravel(u))
            log_jacobian += transform.log_abs_det_jacobian(u, value).sum()
        log_q = guide.get_posterior(params).log_prob(jnp.concatenate(parts)).sum()
        expected = joint + log_jacobian - log_q
        assert found.log_ratios[i] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("base", ["student_t", "mixture"])
def test_ratios_are_those_of_the_densities_whatever_the_base(base):
    guide, params = models.started("realnvp", models.hierarchy, base=base)
    found = fk.diagnose(guide, params, rng_key=KEY, num_samples=100)
    assert_ratios(found, guide, params, models.hierarchy)


@pytest.mark.parametrize("model", [models.hierarchy, models.supports, models.derived])
def test_ratios_are_those_of_the_densities_in_plates_and_on_every_support(model):
    guide, params = models.started("maf", model)
    found = fk.diagnose(guide, params, rng_key=KEY, num_samples=200)
    assert_ratios(found, guide, params, model)
    assert found.num_nonfinite == 0
    if model is models.supports:
        assert found.draws["simplex"].shape == (200, 3)
        assert {p.name for p in found.parameters} >= {"simplex[2]", "matrix[1,0]", "positive"}


def test_deterministic_sites_are_compared_as_well():
    guide, params = models.started("maf", models.derived)
    found = fk.diagnose(guide, params, rng_key=KEY, num_samples=200)
    draws = found.draws
    np.testing.assert_allclose(draws["ratio"], draws["mu"] / draws["tau"])
    assert {p.name for p in found.parameters} == {"mu", "tau", "ratio"}


@pytest.mark.parametrize(
    "kind",
    [
        AutoDiagonalNormal,
        pytest.param(AutoMultivariateNormal, marks=pytest.mark.slow),
        pytest.param(AutoLowRankMultivariateNormal, marks=pytest.mark.slow),
        AutoIAFNormal,
    ],
)
def test_other_guides_are_diagnosed_beside_ours(kind):
    guide = kind(models.regression)
    svi = SVI(models.regression, guide, optax.adam(1e-3), Trace_ELBO())
    params = svi.get_params(svi.init(KEY))
    found = fk.diagnose(guide, params, rng_key=KEY, num_samples=200)
    assert_ratios(found, guide, params, models.regression)


@pytest.mark.slow
def test_a_guide_without_an_inverse_is_diagnosed_by_what_it_knows_of_its_draws():
    guide = AutoBNAFNormal(models.regression, num_flows=1)
    svi = SVI(models.regression, guide, optax.adam(1e-3), Trace_ELBO(1000))
    state = svi.init(KEY)
    found = fk.diagnose(guide, svi.get_params(state), rng_key=KEY, num_samples=2000)
    other = -svi.evaluate(state)
    assert found.elbo == pytest.approx(float(other), abs=6 * found.elbo_stderr)


def test_a_laplace_approximation_of_a_normal_posterior_is_good():
    guide = AutoLaplaceApproximation(models.regression)
    svi = SVI(models.regression, guide, optax.adam(0.05), Trace_ELBO())
    params = svi.run(KEY, 800, progress_bar=False).params
    found = fk.diagnose(guide, params, rng_key=KEY, num_samples=2000)
    assert found.level == "good"
    assert found.elbo == pytest.approx(models.regression_evidence(), abs=1e-2)


def with_parameter():
    loc = numpyro.param("loc", 0.0)
    x = numpyro.sample("x", dist.Normal(loc, 1.0))
    numpyro.deterministic("twice", 2 * x)
    numpyro.sample("y", dist.Normal(x, 1.0), obs=1.0)


def test_the_models_own_parameters_count():
    guide, params = guide_at(with_parameter, {"x": 1.0}, 0.5**0.5)
    found = fk.diagnose(guide, {**params, "loc": 1.0}, rng_key=KEY, num_samples=300)
    assert found.elbo == pytest.approx(-0.5 * math.log(4 * math.pi), abs=1e-9)
    assert found.level == "good"
    np.testing.assert_allclose(found.draws["twice"], 2 * found.draws["x"])


def test_a_guide_that_was_only_just_made_learns_the_model_first():
    _, params = exact(normal.AutoIAF)
    fresh = normal.AutoIAF(models.regression, **models.SMALL)
    found = fk.diagnose(fresh, params, rng_key=KEY, num_samples=500)
    assert found.level == "good"
