"""Planar and Sylvester flows in torch's modes, in Pyro's guides, and classes of one's own."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import hessian, jacfwd, jacrev, vmap

import pyro_flowkit as fk
from pyro_flowkit.transforms import Planar
from tests.pyro.helpers import large, points

FLOWS = {
    "planar": lambda: large(fk.planar(3, num_layers=2)),
    "sylvester": lambda: large(fk.sylvester(3, num_layers=1, rank=2)),
}
every_flow = pytest.mark.parametrize("name", FLOWS)


@every_flow
def test_derivatives_of_the_inverse_of_two_orders_by_finite_differences(name):
    flow, x = FLOWS[name](), points(2, 3).requires_grad_()
    assert gradcheck(flow.inverse_and_log_det, x, check_forward_ad=True)
    assert gradgradcheck(flow.inverse_and_log_det, x)


@every_flow
def test_modes_of_derivatives_agree_under_vmap_and_nested(name):
    flow, x = FLOWS[name](), points(2, 3)

    def log_prob(x):
        z, log_det = flow.inverse_and_log_det(x)
        return -0.5 * (z**2).sum(-1) + log_det

    expected = torch.stack([torch.autograd.functional.hessian(log_prob, row) for row in x])
    for second in (hessian(log_prob), jacfwd(jacfwd(log_prob)), jacrev(jacrev(log_prob))):
        torch.testing.assert_close(vmap(second)(x), expected)


@every_flow
@pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])
def test_compiled_as_a_whole_it_equals_eager(name, direction):
    torch._dynamo.reset()
    flow, z = FLOWS[name](), points(4, 3)
    function = getattr(flow, direction)
    leaf, twin = (z.clone().requires_grad_() for _ in range(2))
    whole = torch.compile(function, fullgraph=True, backend="aot_eager")
    got, expected = whole(leaf), function(twin)
    torch.testing.assert_close(got, expected)
    pairs = [
        torch.autograd.grad(value.sum() + log_det.sum(), x)[0]
        for (value, log_det), x in ((got, leaf), (expected, twin))
    ]
    torch.testing.assert_close(*pairs)
    torch._dynamo.reset()


def model():
    with pyro.plate("arms", 3):
        pyro.sample("x", dist.Normal(torch.zeros(3), torch.tensor([1.0, 0.5, 2.0])))


RECIPES = {
    "planar": functools.partial(fk.planar, num_layers=2),
    "sylvester": functools.partial(fk.sylvester, num_layers=1, rank=2),
}


@every_flow
def test_a_guide_of_these_flows_fits_and_is_diagnosed(name):
    guide = fk.AutoFlow(model, RECIPES[name], base="normal")
    result = fk.fit_guide(model, guide, num_steps=60, progress=False)
    assert result.elbo > -0.1
    assert fk.diagnose(guide, num_samples=500).khat < 0.7


def test_a_density_is_fitted():
    rows = torch.cat([points(150, 2) * 0.3 - 1, points(150, 2, seed=2) * 0.3 + 1]).float()
    flow = fk.planar(2, num_layers=4)
    before = -fk.FlowDistribution(flow).log_prob(rows).mean().item()
    fit = fk.fit_density(
        flow, rows, num_epochs=20, batch_size=50, learning_rate=0.02, progress=False
    )
    assert fit.best_loss < before - 0.2


class OwnNet(torch.nn.Module):
    """A user's network from a context to w, b and u."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 7)

    def forward(self, inputs, context=None):
        return self.linear(context)


def test_a_network_of_ones_own_serves_a_planar_layer():
    zeros, one = torch.zeros(3), torch.zeros(1)
    flow = Planar(zeros, one, zeros, conditioner=OwnNet(), context_dim=2)
    assert flow.spec is None
    z, context = points(4, 3).float(), points(4, 2, seed=3).float()
    x, log_det = flow.forward_and_log_det(z, context)
    back, inverse_log_det = flow.inverse_and_log_det(x, context)
    torch.testing.assert_close(back, z, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-4, atol=1e-5)


def test_arrays_that_do_not_fit_are_refused():
    zeros, one = torch.zeros(3), torch.zeros(1)
    with pytest.raises(ValueError, match=r"expected shapes \(D,\), \(1,\), \(D,\), got"):
        Planar(zeros, zeros, zeros)
    with pytest.raises(ValueError, match="conditioner: expected one with a context"):
        Planar(zeros, one, zeros, conditioner=OwnNet())
