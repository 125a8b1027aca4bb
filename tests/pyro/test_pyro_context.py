"""Flows with a context: conditioning, broadcasting, laziness."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pyro_flowkit as fk
from tests.pyro.helpers import (
    CONDITIONAL,
    RECIPES,
    large,
    mixed_compose,
    network_calls,
    points,
    standard_normal,
)

FLOWS = {
    **{name: lambda name=name: RECIPES[name](4, context_dim=2) for name in CONDITIONAL},
    "compose": lambda: mixed_compose(4, context_dim=2),
}
every_flow = pytest.mark.parametrize("name", FLOWS)


def make(name):
    return large(FLOWS[name]())


@every_flow
def test_a_conditioned_flow_is_the_flow_with_its_context(name):
    flow = make(name)
    z, context = points(5, 4), points(5, 2, seed=3)
    got = flow.condition(context).forward_and_log_det(z)
    torch.testing.assert_close(got, flow.forward_and_log_det(z, context), rtol=0, atol=0)


@every_flow
def test_the_context_matters(name):
    flow = make(name)
    z = points(4)
    one, two = (flow.condition(points(2, seed=s))(z) for s in (3, 4))
    assert (one - two).abs().max() > 1e-2


@every_flow
def test_a_conditioned_flow_owns_no_weights(name):
    transform = make(name).condition(points(2))
    holder = nn.Module()
    holder.transform = transform
    assert not isinstance(transform, nn.Module)
    assert list(holder.parameters()) == []


@every_flow
def test_conditioning_runs_no_network(name, monkeypatch):
    flow = make(name)
    with network_calls(flow, monkeypatch) as calls:
        fk.FlowDistribution(flow, context=points(10, 2))
    assert calls.count == 0


@every_flow
def test_batch_shape_is_that_of_the_context(name):
    density = fk.FlowDistribution(make(name), context=points(10, 2))
    assert (density.batch_shape, density.event_shape) == ((10,), (4,))
    assert density.sample((7,)).shape == (7, 10, 4)
    assert density.rsample().shape == (10, 4)
    assert density.log_prob(density.sample((7,))).shape == (7, 10)


@every_flow
def test_batch_shape_under_upstreams_distribution(name):
    transform = make(name).condition(points(10, 2))
    density = dist.TransformedDistribution(standard_normal(4), [transform])
    assert (density.batch_shape, density.event_shape) == ((10,), (4,))
    assert density.rsample((7,)).shape == (7, 10, 4)
    assert density.expand([5, 10]).rsample().shape == (5, 10, 4)


@every_flow
def test_draws_of_a_context_batch_are_independent(name):
    density = fk.FlowDistribution(make(name), context=points(2).expand(10, 2))
    x = density.sample()
    assert (x[1:] - x[:1]).abs().amax(-1).min() > 1e-6


@every_flow
def test_pairwise_scores_equal_the_scores_of_each_pair(name):
    flow = make(name)
    x, contexts = points(3, 1, 4), points(5, 2, seed=3)
    pairwise = fk.FlowDistribution(flow, context=contexts).log_prob(x)
    assert pairwise.shape == (3, 5)
    for i in range(3):
        for j in range(5):
            one = fk.FlowDistribution(flow, context=contexts[j]).log_prob(x[i, 0])
            torch.testing.assert_close(pairwise[i, j], one)


@every_flow
def test_inverse_broadcasts_like_forward(name):
    flow = make(name)
    x, contexts = points(3, 1, 4), points(5, 2, seed=3)
    z, log_det = flow.inverse_and_log_det(x, contexts)
    assert (z.shape, log_det.shape) == ((3, 5, 4), (3, 5))
    back, opposite = flow.forward_and_log_det(z, contexts)
    torch.testing.assert_close(back, x.expand(3, 5, 4), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(opposite, -log_det, rtol=1e-6, atol=1e-6)


@every_flow
def test_one_conditioned_object_lives_through_optimizer_steps(name):
    flow = make(name)
    transform = flow.condition(points(10, 2))
    density = dist.TransformedDistribution(standard_normal(4), [transform])
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    data = points(10, 4, seed=7)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = -density.log_prob(data).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@every_flow
def test_gradients_reach_the_network_behind_the_context(name):
    flow = make(name)
    encoder = nn.Linear(3, 2).double()
    density = fk.FlowDistribution(flow, context=encoder(points(10, 3)))
    x = density.rsample()
    (density.log_prob(x) - standard_normal(4).log_prob(x)).sum().backward()
    assert encoder.weight.grad.abs().min() > 0


@every_flow
def test_an_amortised_guide_trains_under_a_plate(name):
    flow = FLOWS[name]()
    encoder = nn.Linear(3, 2)
    data = points(10, 3, dtype=torch.float32)

    def model(data):
        with pyro.plate("rows", len(data)):
            z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z[..., :3], 0.5).to_event(1), obs=data)

    def guide(data):
        pyro.module("encoder", encoder)
        pyro.module("flow", flow)
        with pyro.plate("rows", len(data)):
            pyro.sample("z", fk.FlowDistribution(flow, context=encoder(data)))

    elbo = pyro.infer.Trace_ELBO(num_particles=3, vectorize_particles=True)
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
    losses = [svi.step(data) for _ in range(40)]
    assert sum(losses[-5:]) < sum(losses[:5])


@every_flow
def test_a_context_flow_in_a_guide_sees_the_rows_of_a_subsample(name):
    flow = FLOWS[name]()
    encoder = nn.Linear(3, 2)
    data = points(20, 3, dtype=torch.float32)

    def model(data):
        with pyro.plate("rows", len(data), subsample_size=5) as rows:
            z = pyro.sample("z", dist.Normal(torch.zeros(4), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z[..., :3], 0.5).to_event(1), obs=data[rows])

    def guide(data):
        pyro.module("encoder", encoder)
        pyro.module("flow", flow)
        with pyro.plate("rows", len(data), subsample_size=5) as rows:
            pyro.sample("z", fk.FlowDistribution(flow, context=encoder(data[rows])))

    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.02}), pyro.infer.Trace_ELBO())
    assert all(torch.isfinite(torch.tensor([svi.step(data) for _ in range(3)])))
