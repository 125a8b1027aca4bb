"""Flows on an accelerator."""

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

import pyro_flowkit as fk
from tests.pyro.helpers import RECIPES, SMALL, large, mixed_compose, points

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", RECIPES)
def test_both_directions_agree_with_the_cpu(name):
    flow = large(RECIPES[name](4))
    z = points(64, 4)
    expected = (flow.forward_and_log_det(z), flow.inverse_and_log_det(z))
    flow = flow.to("cuda")
    got = (flow.forward_and_log_det(z.cuda()), flow.inverse_and_log_det(z.cuda()))
    for outputs, references in zip(got, expected, strict=True):
        for output, reference in zip(outputs, references, strict=True):
            assert output.device.type == "cuda"
            torch.testing.assert_close(output.cpu(), reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", RECIPES)
def test_to_moves_every_tensor(name):
    flow = RECIPES[name](4).to("cuda")
    for module in flow.modules():
        tensors = [t for t in vars(module).values() if isinstance(t, torch.Tensor)]
        tensors += [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        assert {t.device.type for t in tensors} <= {"cuda"}


def test_gradients_agree_with_the_cpu():
    results = []
    for device in ("cpu", "cuda"):
        flow = large(mixed_compose(4, context_dim=2)).to(device)
        x, context = points(32, 4).to(device), points(32, 2, seed=3).to(device)
        for direction in (flow.forward_and_log_det, flow.inverse_and_log_det):
            flow.zero_grad()
            value, log_det = direction(x, context)
            (value.square().mean() + log_det.mean()).backward()
            results.append([p.grad.cpu() for p in flow.parameters()])
    for cpu, cuda in zip(results[:2], results[2:], strict=True):
        for reference, got in zip(cpu, cuda, strict=True):
            torch.testing.assert_close(got, reference, rtol=1e-7, atol=1e-7)


def test_a_tensor_on_the_cpu_is_refused():
    with pytest.raises(ValueError, match="expected device cuda:0, the flow's, got cpu"):
        fk.maf(4, **SMALL).to("cuda")(torch.zeros(3, 4))


def test_a_distribution_draws_on_the_flows_device():
    density = fk.FlowDistribution(fk.realnvp(4, **SMALL).to("cuda"))
    x = density.sample((5,))
    assert (x.device.type, density.log_prob(x).device.type) == ("cuda", "cuda")


def test_a_flow_on_the_device_is_saved_and_loaded_on_the_cpu(tmp_path):
    flow = large(fk.iaf(4, **SMALL)).to("cuda")
    fk.save_flow(flow, tmp_path / "flow")
    again = fk.load_flow(tmp_path / "flow")
    assert {p.device.type for p in again.parameters()} == {"cpu"}
    torch.testing.assert_close(again(points(5, 4)), flow.cpu()(points(5, 4)))


def test_a_fit_runs_on_the_flows_device(tmp_path):
    flow = fk.maf(3, **SMALL).to("cuda")
    settings = {"num_epochs": 3, "batch_size": 32, "progress": False}
    result = fk.fit_density(flow, 3 * points(200, 3), checkpoint=tmp_path / "fit", **settings)
    assert {p.device.type for p in flow.parameters()} == {"cuda"}
    assert result.validation_losses[-1] < result.validation_losses[0]
    again = fk.fit_density(
        fk.maf(3, **SMALL).to("cuda"), 3 * points(200, 3), checkpoint=tmp_path / "fit", **settings
    )
    assert again.best_loss == result.best_loss


@pytest.mark.parametrize("guide_type", [fk.AutoMAF, fk.AutoIAF, fk.AutoRealNVP])
def test_a_guide_follows_its_model(guide_type):
    def model():
        zeros = torch.zeros(3, device="cuda")
        x = pyro.sample("x", pyro.distributions.Normal(zeros, 1.0).to_event(1))
        pyro.sample("y", pyro.distributions.Normal(x.sum(), 0.5), obs=zeros[0] + 2)

    guide = guide_type(model, **SMALL)
    elbo = Trace_ELBO(num_particles=8, vectorize_particles=True)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), elbo)
    losses = [svi.step() for _ in range(30)]
    assert sum(losses[-8:]) < sum(losses[:8])
    assert guide.median()["x"].device.type == "cuda"
    assert guide.sample_posterior(4)["x"].device.type == "cuda"
