"""Guides on an accelerator, from fit to verdict."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

import pyro_flowkit as fk
from tests.pyro.helpers import SMALL
from tests.pyro.models import DATA, DESIGN

pytestmark = pytest.mark.gpu

GUIDES = {"maf": fk.AutoMAF, "iaf": fk.AutoIAF, "realnvp": fk.AutoRealNVP}


def regression(design, data):
    """A linear regression whose evidence has a closed form."""
    weights = pyro.sample("weights", dist.Normal(design.new_zeros(2), 2.0).to_event(1))
    with pyro.plate("rows", 5):
        # Coordinates apart, so that vectorised particles to the left of the plate broadcast.
        mean = weights[..., 0] * design[:, 0] + weights[..., 1] * design[:, 1]
        pyro.sample("y", dist.Normal(mean, 0.8), obs=data)


def evidence():
    design = torch.as_tensor(DESIGN).double()
    marginal = 4 * design @ design.mT + 0.8**2 * torch.eye(5, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(design.new_zeros(5), marginal)
    return normal.log_prob(torch.as_tensor(DATA).double()).item()


def on_device(dtype):
    return [torch.as_tensor(a).to("cuda", dtype) for a in (DESIGN, DATA)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", GUIDES)
def test_a_fit_reaches_the_evidence_and_is_called_good(name, dtype):
    args = on_device(dtype)
    guide = GUIDES[name](regression, **SMALL)
    result = fk.fit_guide(regression, guide, *args, num_steps=600, chunk_size=8, progress=False)
    assert {p.device.type for p in guide.parameters()} == {"cuda"}
    assert {p.dtype for p in guide.parameters()} == {dtype}
    assert abs(result.elbo - evidence()) < 0.02
    diagnosis = fk.diagnose(guide, *args, num_samples=2000)
    assert diagnosis.khat < 0.7
    assert diagnosis.ess > 0.9 * 2000


@pytest.mark.parametrize("base", ["normal", "student_t", "mixture"])
def test_every_base_gives_finite_gradients(base):
    guide = fk.AutoIAF(regression, base=base, **SMALL)
    elbo = Trace_ELBO(num_particles=8, vectorize_particles=True)
    svi = SVI(regression, guide, pyro.optim.Adam({"lr": 0.01}), elbo)
    args = on_device(torch.float64)
    assert all(math.isfinite(svi.step(*args)) for _ in range(50))
    assert all(p.isfinite().all() for p in guide.parameters())


def test_importance_weighted_bounds_lie_above_the_elbo():
    args = on_device(torch.float64)
    guide = fk.AutoIAF(regression, **SMALL)
    bound = fk.ImportanceWeightedELBO(num_particles=16)
    svi = SVI(regression, guide, pyro.optim.Adam({"lr": 0.01}), bound)
    losses = [svi.step(*args) for _ in range(300)]
    assert sum(losses[-50:]) / 50 < -evidence() + 0.1


def test_latents_of_rows_come_from_the_device():
    data = torch.linspace(-1.0, 3.0, 40, device="cuda")[:, None]

    def model(data):
        mu = pyro.sample("mu", dist.Normal(data.new_zeros(()), 1.0))
        with pyro.plate("data", 40, subsample_size=10, device="cuda") as rows:
            z = pyro.sample("z", dist.Normal(mu, 1.0))
            pyro.sample("y", dist.Normal(z, 1.0), obs=data[rows, 0])

    guide = fk.AutoAmortisedFlow(model, torch.nn.Linear(1, 2, device="cuda"))
    elbo = Trace_ELBO(num_particles=4, vectorize_particles=True)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), elbo)
    losses = [svi.step(data) for _ in range(100)]
    assert sum(losses[-20:]) < sum(losses[:20])
    assert {v.device.type for v in guide.sample_posterior(3, data).values()} == {"cuda"}
