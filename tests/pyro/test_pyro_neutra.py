"""NeuTra: NUTS in the coordinates of a flow guide."""

import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.infer.reparam import NeuTraReparam
from pyro.ops.stats import effective_sample_size

from tests.pyro import models
from tests.pyro import normal_guides as normal
from tests.pyro.helpers import SMALL
from tests.pyro.normal_guides import GUIDES

every_guide = pytest.mark.parametrize("name", GUIDES)


def bend(guide):
    """Weights away from the identity, gently enough for a short chain."""
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def run(model, guide, num_samples, warmup_steps):
    neutra = NeuTraReparam(guide)
    kernel = NUTS(neutra.reparam(model), max_tree_depth=5)
    mcmc = MCMC(kernel, num_samples, warmup_steps, disable_progbar=True)
    mcmc.run()
    return neutra, mcmc.get_samples()


@every_guide
def test_the_reparametrised_model_has_the_same_density(name):
    guide = GUIDES[name](models.regression, init_scale=0.5, **SMALL)
    guide()
    bend(guide)
    neutra = NeuTraReparam(guide)
    model = neutra.reparam(models.regression)
    trace = poutine.trace(model).get_trace()
    (latent,) = (s for n, s in trace.nodes.items() if n.endswith("shared_latent"))
    z = latent["value"]
    weights, log_det = guide.get_transform().forward_and_log_det(z)
    conditioned = poutine.condition(models.regression, {"weights": weights})
    expected = poutine.trace(conditioned).get_trace().log_prob_sum() + log_det
    torch.testing.assert_close(trace.log_prob_sum(), expected, rtol=1e-4, atol=1e-4)


@every_guide
def test_nuts_samples_and_transform_sample_goes_back(name):
    guide = GUIDES[name](models.hierarchy, init_scale=0.5, **SMALL)
    guide()
    bend(guide)
    neutra, draws = run(models.hierarchy, guide, num_samples=6, warmup_steps=4)
    (latents,) = (v for k, v in draws.items() if k.endswith("shared_latent"))
    assert latents.shape == (6, 5)
    values = neutra.transform_sample(latents[..., None, :])
    assert {k: v.reshape(6, -1).shape[1] for k, v in values.items()} == {
        "mu": 1, "tau": 1, "theta": 3
    }  # fmt: skip
    assert (values["tau"] > 0).all()


def test_nuts_through_a_flow_finds_the_posterior():
    guide = normal.AutoRealNVP(models.regression, init_scale=0.5, **SMALL)
    guide()
    bend(guide)
    neutra, draws = run(models.regression, guide, num_samples=300, warmup_steps=100)
    (latents,) = draws.values()
    weights = neutra.transform_sample(latents)["weights"].double()
    mean, covariance = models.regression_posterior()
    sd = covariance.diagonal().sqrt()
    effective = effective_sample_size(weights[None], chain_dim=0, sample_dim=1)
    assert (effective > 60).all()
    # Five standard errors; that of a ratio of sds is 1 / sqrt(2 n), doubled n for correlation.
    assert ((weights.mean(0) - mean).abs() < 5 * sd / effective.sqrt()).all()
    assert ((weights.std(0) / sd - 1).abs() < 5 / effective.sqrt()).all()


def test_a_guide_that_has_not_met_the_model_is_refused():
    with pytest.raises((RuntimeError, TypeError, AttributeError)):
        poutine.trace(NeuTraReparam(normal.AutoMAF(models.regression)).reparam(models.regression))()


def test_neutra_leaves_the_guides_weights_alone():
    guide = normal.AutoIAF(models.regression, **SMALL)
    guide()
    before = [p.detach().clone() for p in guide.parameters()]
    run(models.regression, guide, num_samples=3, warmup_steps=3)
    assert all(torch.equal(a, b) for a, b in zip(before, guide.parameters(), strict=True))
