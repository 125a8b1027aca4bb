"""The failures of upstream's caching, none of which may occur here."""

import copy
import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.transforms import ComposeTransformModule
from pyro.infer import SVI, Trace_ELBO
from torch.distributions import TransformedDistribution

import pyro_flowkit as fk
from tests.pyro.helpers import (
    TRANSFORMS,
    assert_same_gradients,
    gradients,
    points,
    standard_normal,
)

every_transform = pytest.mark.parametrize("name", TRANSFORMS)


def pair(name):
    """A transform with its weights' owner, and an equal one that has evaluated nothing."""
    owner, transform = TRANSFORMS[name]()
    fresh_owner, fresh = TRANSFORMS[name]()
    return owner, transform, fresh_owner, fresh


def copy_weights(source, target):
    with torch.no_grad():
        for a, b in zip(source.parameters(), target.parameters(), strict=True):
            b.copy_(a)


@every_transform
def test_row_1_a_flow_likelihood_takes_many_steps_on_the_same_tensor(name):
    owner, transform = TRANSFORMS[name]()
    data = points(10, 4)

    def model(data):
        pyro.module("flow", owner)
        with pyro.plate("rows", len(data)):
            pyro.sample(
                "x", dist.TransformedDistribution(standard_normal(4), [transform]), obs=data
            )

    svi = SVI(model, lambda data: None, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    losses = [svi.step(data) for _ in range(4)]
    assert losses[-1] < losses[0]


def forward_pair(transform, z):
    return z, transform(z)


def inverse_pair(transform, x):
    return transform.inv(x), x


@every_transform
@pytest.mark.parametrize("make", [forward_pair, inverse_pair])
def test_row_2_changed_weights_give_fresh_values(name, make):
    owner, transform, fresh_owner, fresh = pair(name)
    z, x = make(transform, points(3, 4))
    with torch.no_grad():
        for parameter in owner.parameters():
            parameter.mul_(0.7)
    copy_weights(owner, fresh_owner)
    torch.testing.assert_close(transform(z), fresh(z.clone()), rtol=0, atol=0)
    z, x = make(transform, points(3, 4))
    with torch.no_grad():
        for parameter in owner.parameters():
            parameter.mul_(0.7)
    copy_weights(owner, fresh_owner)
    torch.testing.assert_close(transform.inv(x), fresh.inv(x.clone()), rtol=0, atol=0)
    torch.testing.assert_close(
        transform.log_abs_det_jacobian(z, transform(z)),
        fresh.forward_and_log_det(z.clone())[1],
    )


@every_transform
@pytest.mark.parametrize("draw", ["sample", "rsample"])
def test_row_3_scoring_a_draw_gives_the_uncached_gradient(name, draw):
    owner, transform, fresh_owner, fresh = pair(name)
    density = TransformedDistribution(standard_normal(4), [transform])
    torch.manual_seed(3)
    x = getattr(density, draw)((5,))
    got = gradients(density.log_prob(x).sum(), owner)
    torch.manual_seed(3)
    z = standard_normal(4).sample((5,))
    x, log_det = fresh.forward_and_log_det(z)
    log_prob = standard_normal(4).log_prob(z) - log_det  # with z held fixed: of a reparametrised x
    if draw == "sample":
        z, log_det = fresh.inverse_and_log_det(x.detach().clone())  # of x held fixed
        log_prob = standard_normal(4).log_prob(z) + log_det
    expected = gradients(log_prob.sum(), fresh_owner)
    assert max(g.abs().max() for g in expected.values() if g.numel()) > 0.1
    assert_same_gradients(got, expected, 1e-9)


@every_transform
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_row_4_and_5_copies_can_be_made_after_a_call(name, direction):
    _, transform = TRANSFORMS[name]()
    z = points(3, 4)
    x = transform(z) if direction == "forward" else transform.inv(z)
    again = copy.deepcopy(transform)
    got = again(z) if direction == "forward" else again.inv(z)
    torch.testing.assert_close(got, x, rtol=0, atol=0)


@every_transform
def test_row_6_pickles_after_pyro_has_registered_the_weights(name):
    owner, transform = TRANSFORMS[name]()
    pyro.module("flow", owner)
    for key, parameter in owner.named_parameters():
        pyro.param(f"own.{key}", parameter)
    z = points(3, 4)
    x = transform(z)
    again = pickle.loads(pickle.dumps(transform))
    torch.testing.assert_close(again(z), x, rtol=0, atol=0)


OPTIMIZERS = {
    "ClippedAdam": lambda p: pyro.optim.ClippedAdam({"lr": 0.1}).pt_optim_constructor(p, lr=0.1),
    "AdagradRMSProp": lambda p: pyro.optim.adagrad_rmsprop.AdagradRMSProp(p, eta=0.1),
    "DCTAdam": lambda p: pyro.optim.dct_adam.DCTAdam(p, lr=0.1),
    "fused Adam": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "foreach Adam": lambda p: torch.optim.Adam(p, lr=0.1, foreach=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
}


@every_transform
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_row_7_a_step_of_any_optimizer_is_noticed(name, optimizer):
    owner, transform, fresh_owner, fresh = pair(name)
    x = transform(points(3, 4))
    stale = transform.inv(x)
    transform.log_abs_det_jacobian(stale, x).sum().backward()
    x = transform(points(3, 4))
    OPTIMIZERS[optimizer](list(owner.parameters())).step()
    copy_weights(owner, fresh_owner)
    expected = fresh.inv(x.clone())
    assert (expected - stale).abs().max() > 1e-3
    torch.testing.assert_close(transform.inv(x), expected, rtol=0, atol=0)


@every_transform
def test_row_7_clear_cache_makes_raw_data_writes_known(name):
    owner, transform, fresh_owner, fresh = pair(name)
    x = transform(points(3, 4))
    for parameter in owner.parameters():
        parameter.data.mul_(0.7)
    transform.clear_cache()
    copy_weights(owner, fresh_owner)
    torch.testing.assert_close(transform.inv(x), fresh.inv(x.clone()), rtol=0, atol=0)


@every_transform
def test_row_8_the_parts_of_a_caching_composition_train(name):
    owner, transform = TRANSFORMS[name]()
    other, _ = TRANSFORMS["coupling"]()
    composed = ComposeTransformModule([transform, other], cache_size=1)
    assert composed.parts[0] is transform
    density = TransformedDistribution(standard_normal(4), [composed])
    data = points(10, 4)
    optimizer = torch.optim.Adam([*owner.parameters(), *other.parameters()], lr=1e-2)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = -density.log_prob(data).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@every_transform
@pytest.mark.parametrize("size", [0, 1])
def test_row_9_with_cache_returns_the_transform_itself(name, size):
    _, transform = TRANSFORMS[name]()
    assert transform.with_cache(size) is transform


@every_transform
def test_row_10_a_transformed_call_leaves_no_trace(name):
    _owner, transform, _, fresh = pair(name)
    x = points(4)
    jacobian = torch.func.jacrev(lambda v: transform.inv(v))(x)
    expected = torch.autograd.functional.jacobian(lambda v: fresh.inverse_and_log_det(v)[0], x)
    torch.testing.assert_close(jacobian, expected)
    torch.testing.assert_close(transform.inv(x), fresh.inv(x.clone()), rtol=0, atol=0)
    copy.deepcopy(transform)
    pickle.dumps(transform)


@every_transform
def test_a_data_tensor_never_hits_the_cache(name):
    _, transform = TRANSFORMS[name]()
    data = points(3, 4)
    first = transform.inv(data)
    second = transform.inv(data)
    assert second is not first
    assert transform(second) is data  # second was produced by this transform: free of charge


@every_transform
def test_weights_thawed_after_a_draw_receive_their_gradient(name):
    owner, transform = TRANSFORMS[name]()
    owner.requires_grad_(False)
    density = TransformedDistribution(standard_normal(4), [transform])
    x = density.rsample((5,))
    owner.requires_grad_(True)
    assert density.log_prob(x).requires_grad


@every_transform
def test_a_draw_that_asks_for_a_gradient_later_receives_it(name):
    owner, transform, _, fresh = pair(name)
    owner.requires_grad_(False)
    density = TransformedDistribution(standard_normal(4), [transform])
    x = density.rsample((5,)).requires_grad_()
    (score,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    again = x.detach().clone().requires_grad_()
    z, log_det = fresh.inverse_and_log_det(again)
    (expected,) = torch.autograd.grad((standard_normal(4).log_prob(z) + log_det).sum(), again)
    torch.testing.assert_close(score, expected)


def test_a_context_changed_in_place_is_noticed():
    _, transform = TRANSFORMS["conditioned"]()
    _, fresh = TRANSFORMS["conditioned"]()
    x = transform(points(3, 4))
    transform.context.add_(1.0)
    fresh.context.add_(1.0)
    torch.testing.assert_close(transform.inv(x), fresh.inv(x.clone()), rtol=0, atol=0)


def test_a_draw_changed_in_place_is_noticed():
    _, transform = TRANSFORMS["maf"]()
    with torch.no_grad():
        x = transform(points(3, 4))
        x.add_(1.0)
        expected = transform.inverse_and_log_det(x)[0]
        torch.testing.assert_close(transform.inv(x), expected, rtol=0, atol=0)


def test_flow_distributions_of_one_flow_do_not_mix_up_their_contexts():
    flow, _ = TRANSFORMS["conditioned"]()
    one = fk.FlowDistribution(flow, context=points(3, seed=5))
    two = fk.FlowDistribution(flow, context=points(3, seed=6))
    x = one.sample((4,))
    _ = one.log_prob(x)
    expected = fk.FlowDistribution(flow, context=points(3, seed=6)).log_prob(x.clone())
    torch.testing.assert_close(two.log_prob(x), expected)
