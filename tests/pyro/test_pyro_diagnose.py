"""Diagnoses of guides in Pyro: known evidence, ratios draw by draw, guides of other kinds."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoIAFNormal,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
)

import pyro_flowkit as fk
from pyro_flowkit.guides.warm_start import warm_start
from tests.pyro import models
from tests.pyro import normal_guides as normal
from tests.pyro.diagnosed import SMALL, evidence, guide_at, seeded


@pytest.mark.parametrize("kind", [normal.AutoMAF, normal.AutoIAF, normal.AutoRealNVP])
def test_an_exact_guide_has_the_evidence_for_its_elbo(kind):
    guide = kind(models.regression, **SMALL)
    warm_start(guide)  # of a Normal posterior: that itself
    found = fk.diagnose(guide, num_samples=2000, generator=seeded())
    assert found.elbo == pytest.approx(evidence(), abs=1e-4)
    assert found.log_evidence == pytest.approx(evidence(), abs=1e-4)
    assert found.elbo_stderr < 1e-5
    assert found.level == "good"
    assert found.ess_fraction == pytest.approx(1, abs=1e-4)
    mean, covariance = models.regression_posterior()
    for i, p in enumerate(found.parameters):
        assert p.name == f"weights[{i}]"
        assert p.raw_mean == pytest.approx(float(mean[i]), abs=0.05)
        assert p.raw_sd == pytest.approx(float(covariance[i, i]) ** 0.5, rel=0.07)


def test_float64_is_kept(default_float64):
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(1.0))

    guide = guide_at(model, {"x": 0.5}, 0.5**0.5)
    found = fk.diagnose(guide, num_samples=500, generator=seeded())
    assert found.draws["x"].dtype == np.float64
    assert found.elbo_stderr < 1e-12
    assert found.elbo == pytest.approx(-0.25 - 0.5 * math.log(4 * math.pi), abs=1e-12)


def test_float32_is_kept_and_judged_as_well():
    guide = guide_at(models.one_latent, {"x": 0.5}, 0.5**0.5)
    found = fk.diagnose(guide, num_samples=500, generator=seeded())
    assert found.draws["x"].dtype == np.float32
    assert found.level == "good"


def test_a_guide_that_is_too_narrow_is_not_trusted():
    mean, _ = models.regression_posterior(dtype=torch.float32)
    found = fk.diagnose(guide_at(models.regression, {"weights": mean}, 0.03), generator=seeded())
    assert found.khat > found.khat_threshold
    assert (found.trusted, found.level) == (False, "do not trust")
    assert found.gap > 0.5


def test_chunks_change_nothing_and_torchs_generator_is_left_alone():
    guide = normal.AutoIAF(models.hierarchy, **SMALL)
    guide()
    before = torch.get_rng_state()
    whole = fk.diagnose(guide, num_samples=300, chunk_size=300, generator=seeded())
    parts = fk.diagnose(guide, num_samples=300, chunk_size=7, generator=seeded())
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_allclose(parts.log_ratios, whole.log_ratios, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(parts.draws["theta"], whole.draws["theta"], rtol=1e-4, atol=1e-5)
    pyro.set_rng_seed(0)
    one = fk.diagnose(guide, num_samples=300)
    two = fk.diagnose(guide, num_samples=300)
    pyro.set_rng_seed(0)
    assert fk.diagnose(guide, num_samples=300).log_ratios.tolist() == one.log_ratios.tolist()
    assert one.log_ratios.tolist() != two.log_ratios.tolist()


@pytest.mark.parametrize("base", ["student_t", "mixture"])
def test_ratios_are_those_of_the_densities_whatever_the_base(base):
    guide = fk.AutoRealNVP(models.hierarchy, base=base, **SMALL)
    guide()
    found = fk.diagnose(guide, num_samples=100, generator=seeded())
    assert_ratios(found, guide, models.hierarchy)


def assert_ratios(found, guide, model):
    """Against Pyro's own traces, draw by draw."""
    for i in range(3):
        values = {name: torch.as_tensor(v[i]) for name, v in found.draws.items()}
        joint = poutine.trace(poutine.condition(model, values)).get_trace().log_prob_sum()
        latents, log_jacobian = [], 0.0
        for site, _ in guide._unpack_latent(guide._init_loc()):
            transform = torch.distributions.biject_to(site["fn"].support)
            u = transform.inv(values[site["name"]])
            log_jacobian += transform.log_abs_det_jacobian(u, values[site["name"]]).sum()
            latents.append(u.reshape(-1))
        log_q = guide.get_posterior().log_prob(torch.cat(latents))
        expected = float((joint + log_jacobian - log_q).detach())
        assert found.log_ratios[i] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("model", [models.hierarchy, models.supports])
def test_ratios_are_those_of_the_densities_in_plates_and_on_every_support(model):
    guide = normal.AutoMAF(model, **SMALL)
    guide()
    found = fk.diagnose(guide, num_samples=200, generator=seeded())
    assert_ratios(found, guide, model)
    assert found.num_nonfinite == 0
    if model is models.supports:
        assert found.draws["simplex"].shape == (200, 3)
        assert {p.name for p in found.parameters} >= {"simplex[2]", "matrix[1,0]", "positive"}


@pytest.mark.parametrize(
    "kind",
    [AutoDiagonalNormal, AutoMultivariateNormal, AutoLowRankMultivariateNormal, AutoIAFNormal],
)
def test_other_guides_are_diagnosed_beside_ours(kind):
    guide = kind(models.regression)
    guide()
    before = torch.get_rng_state()
    found = fk.diagnose(guide, num_samples=200, generator=seeded())
    assert torch.equal(before, torch.get_rng_state())
    assert_ratios(found, guide, models.regression)


def test_a_laplace_approximation_is_diagnosed_once_it_is_a_normal():
    guide = AutoLaplaceApproximation(models.regression)
    svi = pyro.infer.SVI(
        models.regression, guide, pyro.optim.Adam({"lr": 0.05}), pyro.infer.Trace_ELBO()
    )
    for _ in range(400):
        svi.step()
    with pytest.raises(TypeError, match=r"a point; .*laplace_approximation\(\*args\)"):
        fk.diagnose(guide)
    found = fk.diagnose(guide.laplace_approximation(), num_samples=2000, generator=seeded())
    assert found.level == "good"
    assert found.elbo == pytest.approx(evidence(), abs=1e-2)


def test_a_new_guide_is_set_up_and_a_trained_one_learns():
    guide = normal.AutoRealNVP(models.one_latent, **SMALL)
    before = fk.diagnose(guide, num_samples=1000)  # one latent, never called
    elbo = pyro.infer.Trace_ELBO(16, vectorize_particles=True)
    svi = pyro.infer.SVI(models.one_latent, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
    for _ in range(200):
        svi.step()
    after = fk.diagnose(guide, num_samples=1000, generator=seeded())
    assert after.gap < 0.05 < before.gap
    assert after.log_evidence == pytest.approx(-0.25 - 0.5 * math.log(4 * math.pi), abs=0.02)
