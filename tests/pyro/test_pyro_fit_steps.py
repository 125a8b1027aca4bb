"""What a step of `fit_guide` computes by short cuts, against the long way round."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import biject_to, constraints

import pyro_flowkit as fk
from pyro_flowkit.distributions import base_score, draw_and_score
from pyro_flowkit.guides.guide_trainer import _clip
from pyro_flowkit.guides.target import Target
from pyro_flowkit.transforms import Compose
from tests.pyro.helpers import SMALL, large, points

BASES = {
    "normal": lambda: dist.Normal(torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.0, 0.3, 2.0])),
    "student_t": lambda: dist.StudentT(torch.tensor([3.0, 8.0, 30.0])),
}


def mixed():
    """Sites of every kind of support and shape, in a plate."""
    scale = pyro.sample("scale", dist.HalfNormal(1.0))
    shares = pyro.sample("shares", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("rows", 2):
        x = pyro.sample("x", dist.Normal(0.0, scale))
        pyro.sample("y", dist.MultivariateNormal(shares, torch.eye(3)), obs=torch.ones(2, 3))
        pyro.sample("z", dist.Normal(x, 1.0), obs=torch.tensor([0.3, 0.4]))


def log_density_by_hand(latent):
    """Of one latent vector, site by site."""
    scale_free, shares_free, x = latent[0], latent[1:3], latent[3:]
    total = 0.0
    values = []
    for free, support in ((scale_free, constraints.positive), (shares_free, constraints.simplex)):
        transform = biject_to(support)
        values.append(transform(free))
        total = total + transform.log_abs_det_jacobian(free, values[-1])
    scale, shares = values
    total = total + dist.HalfNormal(1.0).log_prob(scale)
    total = total + dist.Dirichlet(torch.ones(3)).log_prob(shares)
    total = total + dist.Normal(0.0, scale).log_prob(x).sum()
    likelihood = dist.MultivariateNormal(shares, torch.eye(3))
    total = total + likelihood.log_prob(torch.ones(2, 3)).sum()
    return total + dist.Normal(x, 1.0).log_prob(torch.tensor([0.3, 0.4])).sum()


@pytest.mark.parametrize("count", [1, 4, 7])
def test_targets_agree_with_a_sum_over_sites_whatever_was_asked_before(count):
    guide = fk.AutoIAF(mixed, **SMALL)
    guide()
    target = Target(guide, mixed, (), {})
    assert target.is_vectorized
    for asked in (count, 2, count):  # layouts and plates are kept by shape
        latents = points(asked, 5).float()
        expected = torch.stack([log_density_by_hand(row) for row in latents])
        torch.testing.assert_close(target.log_density(latents), expected)


@pytest.mark.parametrize("name", BASES)
def test_the_score_of_a_base_is_the_derivative_of_its_log_density(name):
    base = BASES[name]().to_event(1)
    z = points(5, 3).float()
    expected = torch.autograd.functional.jacobian(lambda z: base.log_prob(z).sum(), z)
    torch.testing.assert_close(base_score(base, z), expected)


@pytest.mark.parametrize("path_gradient", [False, True])
@pytest.mark.parametrize("make", [fk.iaf, fk.maf, fk.realnvp])
def test_draws_and_their_densities_are_those_of_the_distribution(make, path_gradient):
    flow = large(make(3, **SMALL), dtype=torch.float32)
    base = BASES["normal"]().to_event(1)
    density = fk.FlowDistribution(flow, base, path_gradient=path_gradient)
    found = []
    for shortcut in (False, True):
        pyro.set_rng_seed(3)
        if shortcut:
            x, log_prob = draw_and_score(flow, base, 6, path_gradient=path_gradient)
        else:
            x = density.rsample((6,))
            log_prob = density.log_prob(x)
        weights = list(flow.parameters())
        found.append((x, log_prob, *torch.autograd.grad(log_prob.sum() + x.sum(), weights)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("arguments", [{}, {"residual": True}])
def test_a_pass_that_keeps_its_insides_is_the_pass(arguments, context_dim):
    flow = large(fk.iaf(4, context_dim=context_dim, **SMALL, **arguments))
    net = flow.layers[0].conditioner
    u, context = points(2, 3, 4), points(2, 3, context_dim) if context_dim else None
    raw, pres = net.with_pres(u, context)
    torch.testing.assert_close(raw, net(u, context))
    assert len(pres) == net.num_layers - 1
    torch.testing.assert_close(pres[0], net.first(u, context))


@pytest.mark.parametrize("max_norm", [0.1, 100.0])
def test_gradients_are_clipped_as_torch_clips_them(max_norm):
    pairs = [[torch.nn.Parameter(points(3, n)) for n in (2, 4)] for _ in range(2)]
    for parameters in pairs:
        sum((p**2).sum() for p in parameters).backward()
        parameters.append(torch.nn.Parameter(torch.zeros(2)))  # without a gradient
    ours, theirs = pairs
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    torch.testing.assert_close(_clip(ours, max_norm), expected)
    for p, q in zip(ours[:-1], theirs[:-1], strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_there_is_nothing_to_clip_without_gradients():
    assert float(_clip([torch.nn.Parameter(torch.zeros(2))], 1.0)) == 0.0


@pytest.mark.parametrize("masks", [((1, 0, 1, 0), (1, 0, 1, 0)), ((1, 0, 0, 0), (0, 1, 1, 1))])
@pytest.mark.parametrize("law", ["affine", "additive", "spline"])
def test_scores_through_recorded_couplings_are_those_without_a_graph(masks, law):
    layers = [
        large(fk.realnvp(4, num_layers=1, hidden_dims=(8,), mask=[bool(m) for m in mask], law=law))
        for mask in masks
    ]
    couplings = [flow.layers[0] for flow in layers]
    flow = Compose([*couplings, large(fk.qr_linear(4)), *couplings[::-1]])
    z, score = points(5, 4), points(5, 4, seed=2)
    with torch.no_grad():
        expected = flow.forward_and_score(z, score)
    for given in (z, z.clone().requires_grad_()):
        found = flow.forward_and_score(given, score)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
        assert not found[2].requires_grad
