"""Guides on an accelerator, from fit to verdict."""

import jax
import numpy as np
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
