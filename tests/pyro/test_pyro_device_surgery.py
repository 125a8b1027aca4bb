"""ELBO surgery, and flows of images, on an accelerator."""

import pyro.distributions as dist
import pytest
import torch

import pyro_flowkit as fk
from tests.pyro.helpers import large, points

pytestmark = pytest.mark.gpu

NUM, DIM = 300, 3
FLOWS = {
    "realnvp_image": lambda: fk.realnvp_image((2, 4, 4), num_scales=2, hidden_channels=6),
    "glow": lambda: fk.glow((2, 4, 4), num_scales=1, num_steps=2, hidden_channels=6, started=True),
    "planar": lambda: fk.planar(4, num_layers=3),
    "sylvester": lambda: fk.sylvester(4, num_layers=2, rank=3),
    "low_rank": lambda: fk.low_rank_linear(4, rank=2),
}


def posterior(kind, loc, scale):
    if kind == "full":
        return dist.MultivariateNormal(loc, scale_tril=torch.diag_embed(scale))
    if kind == "generic":
        return dist.StudentT(5.0, loc, scale).to_event(1)
    return dist.Normal(loc, scale).to_event(1)


@pytest.mark.parametrize("scale", [1.0, 1e-7], ids=["wide", "narrow"])
@pytest.mark.parametrize("kind", ["diagonal", "full", "generic"])
def test_the_aggregated_density_and_its_gradient_agree_with_the_cpu(kind, scale):
    results = []
    for device in ("cpu", "cuda"):
        loc = points(NUM, DIM).to(device).requires_grad_()
        sd = (scale * points(NUM, DIM, seed=2).abs().add(0.1)).to(device).requires_grad_()
        z = (loc + sd * points(NUM, DIM, seed=3).to(device)).detach().requires_grad_()
        found = fk.aggregate_log_prob(posterior(kind, loc, sd), z)
        assert found.device.type == device
        found.mean().backward()
        results.append([t.detach().cpu() for t in (found, loc.grad, sd.grad, z.grad)])
    for reference, got in zip(*results, strict=True):
        torch.testing.assert_close(got, reference, rtol=1e-5, atol=1e-5 * reference.abs().max())


def test_a_surgery_draws_on_the_posteriors_device():
    loc = points(NUM, DIM).cuda()
    prior = dist.Normal(torch.zeros(DIM, dtype=loc.dtype, device="cuda"), 1.0).to_event(1)
    found = fk.elbo_surgery(posterior("diagonal", loc, torch.ones_like(loc)), prior)
    identity = found.mutual_information.value + found.marginal_kl.value
    assert found.avg_kl.value == pytest.approx(identity, abs=1e-9)


@pytest.mark.parametrize("name", FLOWS)
def test_both_directions_agree_with_the_cpu(name):
    flow = large(FLOWS[name]())
    z = points(16, *flow.event_shape)
    expected = (flow.forward_and_log_det(z), flow.inverse_and_log_det(z))
    flow = flow.to("cuda")
    got = (flow.forward_and_log_det(z.cuda()), flow.inverse_and_log_det(z.cuda()))
    for outputs, references in zip(got, expected, strict=True):
        for output, reference in zip(outputs, references, strict=True):
            torch.testing.assert_close(output.cpu(), reference, rtol=1e-8, atol=1e-8)
