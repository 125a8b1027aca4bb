"""Path gradients of guides, in Pyro's own ELBOs."""

import pyro
import pytest
import torch
from pyro import infer

import pyro_flowkit as fk
from tests.pyro import models
from tests.pyro import normal_guides as normal
from tests.pyro.helpers import SMALL, assert_same_gradients

GUIDES = {
    "maf": normal.AutoMAF,
    "iaf": normal.AutoIAF,
    "realnvp": normal.AutoRealNVP,
}
every_guide = pytest.mark.parametrize("name", GUIDES)
float64 = pytest.mark.usefixtures("default_float64")
ignore_jit = pytest.mark.filterwarnings(
    r"ignore:`torch\.jit\.\w+` is deprecated:DeprecationWarning"
)


def bent(name, model=models.hierarchy):
    """A guide with weights that are not the first ones; all but those of the frame."""
    guide = GUIDES[name](model, init_scale=0.8, **SMALL)
    guide()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, parameter in guide.named_parameters():
            if ".layers.2." not in key:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return guide


def gradients_of(elbo, guide, model=models.hierarchy, seed=0):
    """What the ELBO leaves in the guide's parameters."""
    pyro.set_rng_seed(seed)
    guide.zero_grad()
    elbo.loss_and_grads(model, guide)
    named = guide.named_parameters()
    return {k: torch.zeros_like(p) if p.grad is None else p.grad.clone() for k, p in named}


def largest(gradients):
    return max(float(g.abs().max()) for g in gradients.values())


VECTORISED = {"num_particles": 3, "vectorize_particles": True, "max_plate_nesting": 1}
ELBOS = {
    "Trace_ELBO": lambda: infer.Trace_ELBO(num_particles=3),
    "Trace_ELBO, vectorised": lambda: infer.Trace_ELBO(**VECTORISED),
    "TraceMeanField_ELBO": lambda: infer.TraceMeanField_ELBO(num_particles=3),
    "TraceMeanField_ELBO, vectorised": lambda: infer.TraceMeanField_ELBO(**VECTORISED),
    "TraceGraph_ELBO": lambda: infer.TraceGraph_ELBO(num_particles=3),
    "TraceEnum_ELBO": lambda: infer.TraceEnum_ELBO(strict_enumeration_warning=False, **VECTORISED),
    "RenyiELBO of one particle": lambda: infer.RenyiELBO(alpha=0.5, num_particles=1),
}


def without_the_score(elbo, guide, monkeypatch):
    """The path gradient by definition: the total one less that of log q at the draws held fixed.

    The loss is a mean of log q - log p over the particles, in whatever shape they were drawn.
    """
    drawn = []
    rsample = fk.FlowDistribution.rsample

    def recording(self, *args, **kwargs):
        drawn.append(rsample(self, *args, **kwargs))
        return drawn[-1]

    with monkeypatch.context() as patch:
        patch.setattr(fk.FlowDistribution, "rsample", recording)
        total = gradients_of(elbo, guide)
    x = torch.cat([value.detach().reshape(-1, guide.latent_dim) for value in drawn])
    log_q = fk.FlowDistribution(guide.get_transform()).log_prob(x).mean()
    named = dict(guide.named_parameters())
    found = torch.autograd.grad(log_q, list(named.values()), allow_unused=True)
    score = {k: g for k, g in zip(named, found, strict=True) if g is not None}
    return total, {k: g - score.get(k, 0.0) for k, g in total.items()}


@float64
@every_guide
@pytest.mark.parametrize("elbo", ELBOS)
def test_path_gradients_are_in_effect_in_every_elbo(name, elbo, monkeypatch):
    guide, elbo = bent(name), ELBOS[elbo]()
    got = gradients_of(elbo, guide)
    guide.path_gradient = False
    total, expected = without_the_score(elbo, guide, monkeypatch)
    assert_same_gradients(got, expected, tolerance=1e-8)
    assert all(largest({k: got[k] - total[k]}) > 1e-3 for k in got if ".layers.1.log" in k)


@float64
@every_guide
@pytest.mark.parametrize("elbo", ELBOS)
def test_the_loss_is_the_same_with_and_without(name, elbo):
    guide, losses = bent(name), []
    for guide.path_gradient in (True, False):
        pyro.set_rng_seed(0)
        losses.append(ELBOS[elbo]().loss_and_grads(models.hierarchy, guide))
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)


@ignore_jit
@float64
@every_guide
@pytest.mark.parametrize("vectorised", [False, True])
def test_compiled_elbos_have_the_total_gradient(name, vectorised):
    guide, found = bent(name), []
    for guide.path_gradient in (True, False):
        elbo = infer.JitTrace_ELBO(
            num_particles=3,
            vectorize_particles=vectorised,
            max_plate_nesting=1,
            ignore_jit_warnings=True,
        )
        gradients_of(elbo, guide)  # compiles
        found.append(gradients_of(elbo, guide, seed=1))
    assert_same_gradients(found[0], found[1])


def test_path_gradients_can_be_switched_between_steps():
    guide, elbo = bent("maf"), infer.Trace_ELBO()
    svi = infer.SVI(models.hierarchy, guide, pyro.optim.Adam({"lr": 0.01}), elbo)
    svi.step()
    on = gradients_of(elbo, guide)
    guide.path_gradient = False
    off = gradients_of(elbo, guide)
    guide.path_gradient = True
    assert largest({k: on[k] - off[k] for k in on}) > 1e-3
    assert_same_gradients(gradients_of(elbo, guide), on, tolerance=0)
    svi.step()
