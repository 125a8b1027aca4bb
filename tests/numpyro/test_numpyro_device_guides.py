"""Guides on an accelerator, from fit to verdict."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import SVI, Trace_ELBO
from numpyro.optim import Adam

import numpyro_flowkit as fk
from tests.numpyro.models import SMALL, regression, regression_evidence

pytestmark = pytest.mark.gpu

GUIDES = {"maf": fk.AutoMAF, "iaf": fk.AutoIAF, "realnvp": fk.AutoRealNVP}


@pytest.mark.parametrize("name", GUIDES)
def test_a_fit_reaches_the_evidence_and_is_called_good(name):
    guide = GUIDES[name](regression, **SMALL)
    result = fk.fit_guide(regression, guide, num_steps=600, chunk_size=8, progress=False)
    leaves = jax.tree.leaves(result.params)
    assert {d.platform for leaf in leaves for d in leaf.devices()} == {"gpu"}
    assert abs(result.elbo - regression_evidence()) < 0.02
    draws = {"rng_key": jax.random.key(0), "num_samples": 2000}
    diagnosis = fk.diagnose(guide, result.params, **draws)
    assert diagnosis.khat < 0.7
    assert diagnosis.ess > 0.9 * 2000


@pytest.mark.parametrize("base", ["normal", "student_t", "mixture"])
def test_every_base_gives_finite_gradients(base):
    guide = fk.AutoIAF(regression, base=base, **SMALL)
    svi = SVI(regression, guide, Adam(1e-2), Trace_ELBO(num_particles=8))
    result = svi.run(jax.random.key(0), 50, progress_bar=False)
    assert np.isfinite(result.losses).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.params))


def test_importance_weighted_bounds_lie_above_the_elbo():
    guide = fk.AutoIAF(regression, **SMALL)
    bound = fk.ImportanceWeightedELBO(num_particles=16)
    svi = SVI(regression, guide, Adam(1e-2), bound)
    result = svi.run(jax.random.key(0), 300, progress_bar=False)
    assert np.mean(result.losses[-50:]) < -regression_evidence() + 0.1


def test_latents_of_rows_come_from_the_device():
    data = jnp.linspace(-1.0, 3.0, 40)[:, None]

    def model(data):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        with numpyro.plate("data", 40, subsample_size=10) as rows:
            z = numpyro.sample("z", dist.Normal(mu, 1.0))
            numpyro.sample("y", dist.Normal(z, 1.0), obs=data[rows, 0])

    encoder = jax.tree_util.Partial(jnp.multiply, jnp.ones(2))
    guide = fk.AutoAmortisedFlow(model, encoder)
    svi = SVI(model, guide, Adam(1e-2), Trace_ELBO(num_particles=4))
    result = svi.run(jax.random.key(0), 100, data, progress_bar=False)
    assert result.losses[-20:].sum() < result.losses[:20].sum()
    draws = guide.sample_posterior(jax.random.key(1), result.params, data, sample_shape=(3,))
    assert {d.platform for v in draws.values() for d in v.devices()} == {"gpu"}
