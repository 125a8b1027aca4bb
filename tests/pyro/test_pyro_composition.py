"""Our flows among Pyro's own parts, and Pyro's parts among ours."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.transforms import (
    AffineTransform,
    ComposeTransformModule,
    ExpTransform,
    LeakyReLUTransform,
    Permute,
    affine_coupling,
    iterated,
)
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormalizingFlow
from torch.distributions import TransformedDistribution
from torch.distributions.transforms import ComposeTransform

import pyro_flowkit as fk
from tests.pyro.helpers import RECIPES, SMALL, large, mixed_compose, points, standard_normal

RECIPES_THAT_TRAIN = [name for name in RECIPES if name != "permute"]


def two_latents():
    x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(x.sum(), 0.5), obs=torch.tensor(2.0))


@pytest.mark.parametrize("name", RECIPES_THAT_TRAIN)
def test_recipes_train_inside_pyros_autonormalizingflow(name):
    guide = AutoNormalizingFlow(two_latents, RECIPES[name])
    elbo = Trace_ELBO(num_particles=8, vectorize_particles=True)
    svi = SVI(two_latents, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
    losses = [svi.step() for _ in range(60)]
    assert sum(losses[-10:]) < sum(losses[:10])


def test_a_partial_recipe_trains_inside_pyros_autonormalizingflow():
    guide = AutoNormalizingFlow(two_latents, functools.partial(fk.iaf, **SMALL))
    elbo = Trace_ELBO(num_particles=8, vectorize_particles=True)
    svi = SVI(two_latents, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
    losses = [svi.step() for _ in range(60)]
    assert sum(losses[-10:]) < sum(losses[:10])


def dense_log_det(transform, z):
    jacobian = torch.autograd.functional.jacobian(lambda z: transform(z), z)
    return torch.linalg.slogdet(jacobian).logabsdet


@pytest.mark.parametrize("recipe", [fk.realnvp, fk.maf, fk.iaf])
def test_iterated_chains_a_recipe(recipe):
    chain = large(iterated(2, functools.partial(recipe, **SMALL), 4))
    density = TransformedDistribution(standard_normal(4), [chain])
    z = points(4)
    x = chain(z)
    expected = standard_normal(4).log_prob(z) - dense_log_det(chain, z)
    torch.testing.assert_close(density.log_prob(x.detach().clone()), expected)


def test_flows_side_by_side_in_a_transformed_distribution():
    one, two = large(fk.maf(4, **SMALL)), large(fk.realnvp(4, **SMALL), seed=2)
    listed = TransformedDistribution(standard_normal(4), [one, AffineTransform(1.0, 2.0), two])
    x = points(5, 4)
    composed = fk.FlowDistribution(fk.compose(one, AffineTransform(1.0, 2.0), two))
    torch.testing.assert_close(listed.log_prob(x), composed.log_prob(x))


def test_a_compose_transform_module_registers_and_inverts_our_flows():
    parts = [large(fk.maf(4, **SMALL)), large(fk.lu_linear(4))]
    chain = ComposeTransformModule(parts)
    z = points(5, 4)
    assert len(list(chain.parameters())) == sum(len(list(p.parameters())) for p in parts)
    torch.testing.assert_close(chain.inv(chain(z)), z)


FOREIGN = {
    "AffineTransform": lambda: AffineTransform(torch.tensor(0.5).double(), 2.0),
    "AffineTransform on vectors": lambda: AffineTransform(
        torch.arange(4).double(), torch.tensor([1.0, -2.0, 3.0, 0.5]).double(), event_dim=1
    ),
    "affine_coupling": lambda: large(affine_coupling(4, hidden_dims=[8])),
    "Permute": lambda: Permute(torch.tensor([2, 0, 3, 1])),
    "inverse of affine_coupling": lambda: (
        ComposeTransform(
            [large(affine_coupling(4, hidden_dims=[8])), AffineTransform(0.0, 2.0)]
        ).inv
    ),
    "LeakyReLU": LeakyReLUTransform,
    "ExpTransform and back": lambda: ComposeTransform([ExpTransform(), ExpTransform().inv]),
}
every_foreign = pytest.mark.parametrize("name", FOREIGN)


def sandwich(name):
    before, after = large(fk.realnvp(4, **SMALL)), large(fk.lu_linear(4), seed=2)
    return fk.compose(before, FOREIGN[name](), after)


@every_foreign
def test_a_foreign_part_keeps_the_round_trip_exact(name):
    flow = sandwich(name)
    z = points(5, 4)
    x, log_det = flow.forward_and_log_det(z)
    back, opposite = flow.inverse_and_log_det(x.detach().clone())
    torch.testing.assert_close(back, z, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(opposite, -log_det, rtol=1e-7, atol=1e-7)


@every_foreign
def test_a_foreign_part_enters_the_log_determinant(name):
    flow = sandwich(name)
    z = points(4)
    torch.testing.assert_close(flow.forward_and_log_det(z)[1], dense_log_det(flow, z))


@every_foreign
def test_a_foreign_part_passes_the_score_on(name):
    flow = sandwich(name)
    z = points(5, 4)
    x, _, score = flow.forward_and_score(z, -z)
    x = x.detach().clone().requires_grad_()
    base_z, log_det = flow.inverse_and_log_det(x)
    log_density = standard_normal(4).log_prob(base_z) + log_det
    (expected,) = torch.autograd.grad(log_density.sum(), x)
    torch.testing.assert_close(score, expected, rtol=1e-6, atol=1e-6)


@every_foreign
def test_a_composition_with_a_foreign_part_has_no_spec(name):
    flow = sandwich(name)
    assert flow.spec is None
    assert "no spec" in repr(flow) or type(flow.parts[1]).__name__ in repr(flow)


@every_foreign
def test_changed_weights_of_any_part_give_fresh_values(name):
    flow = sandwich(name)
    x = points(5, 4)
    flow.inv(x)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(0.5)
    torch.testing.assert_close(flow.inv(x), flow.inv(x.clone()), rtol=0, atol=0)


def test_a_foreign_module_is_registered_and_trains():
    foreign = affine_coupling(4, hidden_dims=[8])
    flow = large(fk.compose(fk.lu_linear(4), foreign))
    data = points(20, 4)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    start = [p.detach().clone() for p in foreign.parameters()]
    for _ in range(3):  # the same data tensor each time
        optimizer.zero_grad()
        (-fk.FlowDistribution(flow).log_prob(data).mean()).backward()
        optimizer.step()
    assert all((p - s).abs().max() > 0 for p, s in zip(foreign.parameters(), start, strict=True))


def test_nested_compositions_equal_the_flat_one():
    a, b, c = (large(fk.realnvp(4, **SMALL), seed=s) for s in range(3))
    z = points(5, 4)
    nested = fk.compose(fk.compose(a, b), c).forward_and_log_det(z)
    torch.testing.assert_close(nested, fk.compose(a, b, c).forward_and_log_det(z))


def test_a_composition_applies_its_parts_in_the_order_given():
    shift, scale = large(fk.lu_linear(4)), AffineTransform(1.0, 3.0)
    z = points(5, 4)
    torch.testing.assert_close(fk.compose(shift, scale)(z), 1 + 3 * shift(z))
    torch.testing.assert_close(fk.compose(scale, shift)(z), shift(1 + 3 * z))


def test_composition_of_every_layer_kind_has_the_dense_log_determinant():
    flow = large(mixed_compose())
    z = points(4)
    torch.testing.assert_close(flow.forward_and_log_det(z)[1], dense_log_det(flow, z))
