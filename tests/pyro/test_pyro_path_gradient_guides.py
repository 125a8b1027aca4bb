"""Path gradients of guides: none at the posterior, finite far off it, and in amortised guides."""

import copy
import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import infer
from pyro.infer.autoguide import init_to_value

import pyro_flowkit as fk
from tests.pyro import models
from tests.pyro.helpers import SMALL, assert_same_gradients, gradients
from tests.pyro.normal_guides import GUIDES

SPLINES = {
    name: functools.partial(
        fk.AutoFlow, flow=functools.partial(recipe, law="spline", **SMALL), base="normal"
    )
    for name, recipe in (("maf", fk.maf), ("iaf", fk.iaf), ("realnvp", fk.realnvp))
}
every_guide = pytest.mark.parametrize("name", GUIDES)
float64 = pytest.mark.usefixtures("default_float64")


def regression():
    """`models.regression` with everything in float64."""
    weights = pyro.sample("weights", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    with pyro.plate("rows", 5):
        mean = weights @ models.DESIGN.double().T
        pyro.sample("y", dist.Normal(mean, 0.8), obs=models.DATA.double())


def exact_guide(name):
    """A guide that is the posterior of the regression, through its affine layer."""
    guide = GUIDES[name](regression, **SMALL)
    guide()
    mean, covariance = models.regression_posterior()
    factor = torch.linalg.cholesky(covariance)
    affine = guide.get_transform().layers[1]
    with torch.no_grad():
        affine.lower.copy_(factor)
        affine.log_diagonal.copy_(factor.diagonal().log())
        affine.shift.copy_(mean)
    return guide


@float64
@every_guide
@pytest.mark.parametrize("seed", range(4))
def test_at_the_posterior_every_draw_has_gradient_zero(name, seed):
    guide = exact_guide(name)
    sizes = []
    for guide.path_gradient in (True, False):
        pyro.set_rng_seed(seed)
        loss = infer.Trace_ELBO().differentiable_loss(regression, guide)
        sizes.append(max(float(g.abs().max()) for g in gradients(loss, guide).values()))
    assert sizes[0] < 1e-11
    assert sizes[1] > 0.01


def amortised(flow, context_net):
    """A guide with a draw for each row of a plate, in a context of its own."""

    def guide(data):
        pyro.module("flow", flow)
        pyro.module("net", context_net)
        with pyro.plate("rows", len(data)):
            context = context_net(data[:, None])
            pyro.sample("x", fk.FlowDistribution(flow, context=context, path_gradient=True))

    return guide


def of_rows(data):
    with pyro.plate("rows", len(data)):
        x = pyro.sample("x", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
        pyro.sample("y", dist.Normal(x.sum(-1), 0.5), obs=data)


@float64
@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf, fk.realnvp])
def test_amortised_guides_in_plates_have_path_gradients(recipe):
    flow, net = recipe(2, context_dim=3, **SMALL), torch.nn.Linear(1, 3)
    flow = flow.double()
    data = torch.tensor([0.3, -1.0, 2.0])
    parameters = [*flow.parameters(), *net.parameters()]
    with torch.no_grad():
        for p in parameters:
            p.add_(0.3 * torch.randn_like(p))
    pyro.set_rng_seed(1)
    infer.Trace_ELBO().loss_and_grads(of_rows, amortised(flow, net), data)
    got = {str(i): p.grad for i, p in enumerate(parameters)}
    pyro.set_rng_seed(1)
    context = net(data[:, None])
    x = fk.FlowDistribution(flow, context=context).rsample()
    frozen = copy.deepcopy(flow).requires_grad_(False)
    log_q = fk.FlowDistribution(frozen, context=context.detach()).log_prob(x)
    log_p = dist.Normal(0.0, 1.0).log_prob(x).sum(-1) + dist.Normal(x.sum(-1), 0.5).log_prob(data)
    expected = torch.autograd.grad((log_q - log_p).sum(), parameters)
    assert_same_gradients(got, {str(i): g for i, g in enumerate(expected)}, tolerance=1e-8)


@pytest.mark.parametrize(
    "name", ["iaf", *(pytest.param(name, marks=pytest.mark.slow) for name in ("maf", "realnvp"))]
)
def test_spline_guides_stay_finite_from_far_off_the_posterior(name):
    far = init_to_value(values={"weights": torch.tensor([40.0, -60.0])})
    guide = SPLINES[name](models.regression, init_loc_fn=far)
    svi = infer.SVI(
        models.regression, guide, pyro.optim.Adam({"lr": 0.05}), infer.Trace_ELBO(num_particles=2)
    )
    losses = torch.tensor([svi.step() for _ in range(200)])
    assert torch.isfinite(losses).all()
    assert losses[-10:].mean() < losses[:10].mean()
    assert all(torch.isfinite(p).all() for p in guide.parameters())
