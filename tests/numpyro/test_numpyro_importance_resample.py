"""Draws of the posterior by way of a guide, in NumPyro."""

import functools

import jax
import numpy as np
import pytest

import numpyro_flowkit as fk
from tests.numpyro import models
from tests.numpyro.diagnosed import guide_at

KEY = jax.random.key(0)


def test_a_shifted_guide_is_usable_and_resampling_moves_it():
    mean, covariance = models.regression_posterior()
    guide, params = guide_at(models.regression, {"weights": mean + 0.3}, 0.5)
    found = fk.diagnose(guide, params, rng_key=KEY, num_samples=20_000)
    assert found.level == "usable after importance weighting"
    evidence = models.regression_evidence()
    assert abs(found.log_evidence - evidence) < 4 * found.log_evidence_stderr
    drawn = fk.importance_resample(
        guide, params, rng_key=jax.random.key(1), num_draws=4000, num_samples=20_000
    )["weights"]
    assert isinstance(drawn, jax.Array)
    assert drawn.shape == (4000, 2)
    sds = np.sqrt(np.diagonal(covariance))
    assert np.all(abs(drawn.mean(0) - mean) < 0.1 * sds)
    np.testing.assert_allclose(drawn.std(0), sds, rtol=0.1)
    smoothed = np.array([p.smoothed_mean for p in found.parameters])
    assert np.all(abs(smoothed - mean) < 0.1 * sds)


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
@pytest.mark.parametrize("replace", [True, False])
def test_resampling_repeats_itself_given_a_key(replace, make):
    guide, params = guide_at(models.regression, {"weights": [1.0, 0.3]}, 0.5)
    again = functools.partial(
        fk.importance_resample, guide, params, num_draws=50, num_samples=500, replace=replace
    )
    one, two, other = (again(rng_key=make(seed))["weights"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    if not replace:
        assert len(np.unique(one, axis=0)) == 50


def test_resampling_from_a_guide_that_is_not_trusted_warns():
    guide, params = guide_at(models.regression, {"weights": [1.2, 0.4]}, 0.03)
    with pytest.warns(UserWarning, match="importance_resample: do not trust: khat"):
        fk.importance_resample(guide, params, rng_key=KEY, num_draws=10)


def test_deterministic_sites_go_with_their_draws_and_into_inference_data():
    guide, params = guide_at(models.derived, {"mu": 0.3, "tau": 1.0}, 0.6)
    drawn = fk.importance_resample(guide, params, rng_key=KEY, num_draws=300)
    np.testing.assert_allclose(drawn["ratio"], drawn["mu"] / drawn["tau"])
    data = fk.to_arviz(drawn)
    assert dict(data.posterior.sizes) == {"chain": 1, "draw": 300}
    np.testing.assert_array_equal(data.posterior["tau"][0], drawn["tau"])
