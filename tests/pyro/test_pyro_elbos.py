"""Flow guides under every ELBO of Pyro."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import infer
from pyro.infer.autoguide import AutoDiagonalNormal

from tests.pyro import models
from tests.pyro.helpers import SMALL
from tests.pyro.normal_guides import GUIDES

VECTORISED = {"num_particles": 4, "vectorize_particles": True}
ELBOS = {
    "Trace_ELBO": lambda: infer.Trace_ELBO(num_particles=4),
    "Trace_ELBO, vectorised": lambda: infer.Trace_ELBO(**VECTORISED),
    "TraceGraph_ELBO": lambda: infer.TraceGraph_ELBO(num_particles=4),
    "TraceMeanField_ELBO": lambda: infer.TraceMeanField_ELBO(num_particles=4),
    "TraceEnum_ELBO": lambda: infer.TraceEnum_ELBO(
        max_plate_nesting=1, strict_enumeration_warning=False, **VECTORISED
    ),
    "RenyiELBO": lambda: infer.RenyiELBO(alpha=0.5, **VECTORISED),
    "JitTrace_ELBO": lambda: infer.JitTrace_ELBO(ignore_jit_warnings=True, num_particles=4),
    "JitTrace_ELBO, vectorised": lambda: infer.JitTrace_ELBO(
        ignore_jit_warnings=True, max_plate_nesting=1, **VECTORISED
    ),
}
ignore_jit = pytest.mark.filterwarnings(
    r"ignore:`torch\.jit\.\w+` is deprecated:DeprecationWarning"
)


@ignore_jit
@pytest.mark.parametrize("guide", [pytest.param("maf", marks=pytest.mark.slow), "iaf", "realnvp"])
@pytest.mark.parametrize("elbo", ELBOS)
def test_every_elbo_lowers_the_loss(guide, elbo):
    guide = GUIDES[guide](models.hierarchy, **SMALL)
    svi = infer.SVI(models.hierarchy, guide, pyro.optim.Adam({"lr": 0.05}), ELBOS[elbo]())
    losses = [svi.step() for _ in range(25)]
    assert sum(losses[-8:]) < sum(losses[:8])


@pytest.mark.parametrize("guide", GUIDES)
def test_an_untrained_guide_has_the_elbo_of_a_diagonal_normal(guide):
    flow_guide = GUIDES[guide](models.regression, init_scale=0.1, **SMALL)
    normal = AutoDiagonalNormal(models.regression, init_scale=0.1)
    elbo = infer.Trace_ELBO(num_particles=2000, vectorize_particles=True)
    losses = []
    for each in (flow_guide, normal):
        pyro.set_rng_seed(2)
        each()
        pyro.set_rng_seed(3)
        losses.append(elbo.loss(models.regression, each))
    # Both average 2000 draws of a quantity whose standard deviation is below 3.
    assert abs(losses[0] - losses[1]) < 5 * 3 * (2 / 2000) ** 0.5


def mixture(data):
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(2)))
    locs = pyro.sample("locs", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    with pyro.plate("rows", len(data)):
        which = pyro.sample("which", dist.Categorical(weights), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(locs[..., which] if locs.dim() == 1 else locs, 1.0), obs=data)


@pytest.mark.parametrize("guide", GUIDES)
def test_enumerated_discrete_latents_stay_out_of_the_guide(guide):
    exposed = pyro.poutine.block(mixture, expose=["weights", "locs"])
    guide = GUIDES[guide](exposed, **SMALL)
    data = torch.tensor([-3.0, -2.5, 2.0, 3.0, 2.5])
    elbo = infer.TraceEnum_ELBO(max_plate_nesting=1, num_particles=4)
    svi = infer.SVI(mixture, guide, pyro.optim.Adam({"lr": 0.05}), elbo)
    losses = [svi.step(data) for _ in range(25)]
    assert sum(losses[-8:]) < sum(losses[:8])


@pytest.mark.parametrize("guide", GUIDES)
def test_torch_optimizers_train_the_elbo_module(guide):
    guide = GUIDES[guide](models.hierarchy, **SMALL)
    elbo = infer.Trace_ELBO(**VECTORISED)(models.hierarchy, guide)
    elbo()  # the guide meets the model; then it has parameters
    optimizer = torch.optim.Adam(elbo.parameters(), lr=0.05)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = elbo()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-8:]) < sum(losses[:8])


@pytest.mark.parametrize("guide", GUIDES)
def test_predictive_draws_through_a_guide(guide):
    guide = GUIDES[guide](models.hierarchy, **SMALL)
    guide()
    draws = infer.Predictive(models.hierarchy, guide=guide, num_samples=6)()
    assert draws["theta"].shape == (6, 3)
    assert draws["y"].shape == (6, 3)


@pytest.mark.parametrize("guide", GUIDES)
def test_the_tail_adaptive_elbo_gives_gradients(guide):
    guide = GUIDES[guide](models.hierarchy, **SMALL)
    guide()
    # Its loss is infinite by design; its gradients are what counts.
    infer.TraceTailAdaptive_ELBO(max_plate_nesting=1, **VECTORISED).loss_and_grads(
        models.hierarchy, guide
    )
    found = [p.grad for p in guide.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in found)
    assert any((g != 0).any() for g in found)


@pytest.mark.parametrize("guide", GUIDES)
def test_the_energy_distance_trains_a_guide(guide):
    def model():
        x = pyro.sample("x", dist.Normal(0.0, 3.0))
        pyro.sample("y", dist.Normal(x, 0.5), obs=torch.tensor(4.0))

    guide = GUIDES[guide](model, **SMALL)
    loss = infer.EnergyDistance(num_particles=32)
    svi = infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), loss)
    losses = [svi.step() for _ in range(40)]
    assert sum(losses[-8:]) < sum(losses[:8])
