"""What cannot be diagnosed in NumPyro, and what is wrong with it."""

import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.autoguide import AutoDAIS, AutoDelta, AutoNormal

import numpyro_flowkit as fk
from tests.numpyro import models

KEY = jax.random.key(0)


@pytest.mark.parametrize("kind", [AutoNormal, AutoDelta, AutoDAIS, None])
def test_guides_without_one_density_are_refused(kind):
    guide = kind(models.regression) if kind else models.regression
    name = kind.__name__ if kind else "function"
    with pytest.raises(TypeError, match=f"joint density.*got {name}"):
        fk.diagnose(guide, {}, rng_key=KEY)


def regression_of(data, size=None):
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(data), subsample_size=size) as rows:
        numpyro.sample("y", dist.Normal(mu, 1.0), obs=data[rows])


def grouped(data):
    with numpyro.plate("groups", len(data)):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=data)


def test_subsampled_data_are_refused_and_all_of_them_taken():
    data = jnp.arange(6.0)
    guide = fk.AutoRealNVP(regression_of, **models.SMALL)
    params = models.call(guide, data, 2)[2]
    with pytest.raises(ValueError, match=r"plate 'rows' draws 2 of 6 rows"):
        fk.diagnose(guide, params, data, rng_key=KEY, size=2)
    assert fk.diagnose(guide, params, data, rng_key=KEY, num_samples=100).num_nonfinite == 0


def test_latents_of_other_shapes_are_refused():
    guide = fk.AutoRealNVP(grouped, **models.SMALL)
    params = models.call(guide, jnp.zeros(3))[2]
    with pytest.raises(ValueError, match=r"site 'x'.*\(3,\).*\(4,\)"):
        fk.diagnose(guide, params, jnp.zeros(4), rng_key=KEY)


BAD = {
    "few": ({"num_samples": 99}, ValueError, "num_samples: expected an integer >= 100, got 99"),
    "a float": ({"num_samples": 1e3}, TypeError, "num_samples: expected an integer"),
    "chunks": ({"chunk_size": 0}, ValueError, "chunk_size: expected an integer >= 1, got 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case):
    arguments, error, message = BAD[case]
    guide, params = models.started("realnvp", models.one_latent)
    for function in (fk.diagnose, functools.partial(fk.importance_resample, num_draws=5)):
        with pytest.raises(error, match=message):
            function(guide, params, rng_key=KEY, **arguments)
    with pytest.raises(ValueError, match="num_draws"):
        fk.importance_resample(guide, params, rng_key=KEY, num_draws=0)
    with pytest.raises(TypeError, match="replace"):
        fk.importance_resample(guide, params, rng_key=KEY, num_draws=1, replace="yes")


def test_a_guide_whose_weights_are_nan_is_reported_and_never_raises():
    guide, params = models.started("realnvp", models.hierarchy)
    params = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), params)
    found = fk.diagnose(guide, params, rng_key=KEY, num_samples=100)
    assert (found.num_invalid, found.khat, found.trusted) == (100, math.inf, False)
    with pytest.raises(ValueError, match="expected at least one above zero"):
        fk.importance_resample(guide, params, rng_key=KEY, num_draws=10, num_samples=100)


def bounded():
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.factor("half", jnp.where(x > 0, math.log(2), -jnp.inf))


def test_where_the_model_has_no_density_the_weight_is_zero():
    guide = fk.AutoRealNVP(
        bounded, init_loc_fn=numpyro.infer.init_to_value(values={"x": 0.5}), init_scale=1.2,
        **models.SMALL,
    )  # fmt: skip
    params = models.call(guide)[2]
    found = fk.diagnose(guide, params, rng_key=KEY)
    assert 0 < found.num_zero_density < 10_000
    assert found.log_evidence == pytest.approx(0, abs=4 * found.log_evidence_stderr)
    assert found.trusted
    drawn = fk.importance_resample(guide, params, rng_key=KEY, num_draws=2000)["x"]
    assert np.all(drawn > 0)


def test_a_missing_arviz_is_asked_for_by_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz", None)
    guide, params = models.started("realnvp", models.one_latent)
    with pytest.raises(ImportError, match=r'pip install "ppl-flowkit\[diagnostics\]"'):
        fk.diagnose(guide, params, rng_key=KEY)
