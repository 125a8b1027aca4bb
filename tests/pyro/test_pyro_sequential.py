"""The sequential direction against the plain loop that calls the network once per coordinate."""

import pytest
import torch

import pyro_flowkit as fk
from pyro_flowkit.laws import Additive, Affine
from pyro_flowkit.transforms import (
    InverseAutoregressive,
    MaskedAutoregressive,
    made_solver,
    solver,
)
from tests.pyro.helpers import OwnMaskedNet, assert_same_gradients, gradients, large, points
from tests.pyro.laws import ArcSinh
from tests.pyro.reference import loop, sequential

CASES = {
    "plain": (5, {"hidden_dims": (16, 12)}),
    "one coordinate": (1, {"hidden_dims": (8,)}),
    "two coordinates": (2, {"hidden_dims": (8,)}),
    "narrower than D": (7, {"hidden_dims": (3,)}),
    "narrow, then wide": (6, {"hidden_dims": (2, 9)}),
    "no hidden layer": (5, {"hidden_dims": ()}),
    "residual": (5, {"hidden_dims": (12, 12), "residual": True}),
    "residual, narrow": (6, {"hidden_dims": (3, 3), "residual": True}),
    "random order": (6, {"hidden_dims": (9,), "mixing": "random", "seed": 4}),
    "lu mixing": (4, {"hidden_dims": (9,), "mixing": "lu"}),
    "tanh": (5, {"hidden_dims": (9, 9), "activation": "tanh"}),
    "additive": (5, {"hidden_dims": (9,), "law": "additive"}),
}
every_case = pytest.mark.parametrize("case", CASES)
both = pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
with_context = pytest.mark.parametrize("context_dim", [0, 3])
every_inverse = pytest.mark.parametrize("inverse", ["sweep", "fixed_point"])


def make(recipe, case, context_dim, inverse="auto"):
    dim, kwargs = CASES[case]
    flow = large(recipe(dim, num_layers=2, context_dim=context_dim, inverse=inverse, **kwargs))
    context = points(4, context_dim, seed=8) if context_dim else None
    return flow, points(4, dim), context


def check(flow, v, context, order=None):
    """Values, and gradients of a random functional with respect to everything."""
    v = v.requires_grad_()
    leaves = {"input": v}
    if context is not None:
        leaves["context"] = context.requires_grad_()
    results = []
    for function in (sequential(flow), lambda v, c: loop(flow, v, c, order)):
        u, log_det = function(v, context)
        weights_u, weights_l = points(*u.shape, seed=11), points(*log_det.shape, seed=12)
        loss = (u * weights_u).sum() + (log_det * weights_l).sum()
        results.append((u, log_det, gradients(loss, flow, leaves)))
    (u, log_det, got), (u_ref, log_det_ref, expected) = results
    torch.testing.assert_close(u, u_ref, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, log_det_ref, rtol=1e-10, atol=1e-10)
    assert expected["input"].abs().max() > 0.1
    assert_same_gradients(got, expected, 1e-10)


@every_case
@both
@with_context
@every_inverse
def test_values_and_gradients_are_those_of_the_loop(recipe, case, context_dim, inverse):
    check(*make(recipe, case, context_dim, inverse))


@every_case
@both
@with_context
@pytest.mark.parametrize("depth", [1, 2])
def test_so_are_those_of_sweeps_that_are_not_compiled(
    recipe, case, context_dim, depth, monkeypatch
):
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")
    for module in (solver, made_solver):
        monkeypatch.setattr(module, "block_depth", lambda spec, method, batch: depth)
    check(*make(recipe, case, context_dim, "sweep"))


LAWS = {"additive": Additive(), "affine": Affine(bound=1.5), "own": ArcSinh()}
CLASSES = {"maf": MaskedAutoregressive, "iaf": InverseAutoregressive}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", CLASSES)
@with_context
def test_a_users_own_network_and_law_agree_with_the_loop(kind, law, context_dim):
    order = (2, 0, 3, 1)
    net = OwnMaskedNet(4, LAWS[law].num_conditioned, context_dim)
    layer = CLASSES[kind](net, LAWS[law], order, context_dim=context_dim)
    layer = layer.double()
    if layer.free is not None:
        torch.nn.init.constant_(layer.free, 0.3)
    context = points(4, context_dim, seed=8) if context_dim else None
    check(layer, points(4, 4), context, order)


@both
def test_a_context_shared_by_the_batch_receives_the_sum_of_gradients(recipe):
    flow, v, _ = make(recipe, "plain", 3)
    shared = points(3, seed=8).requires_grad_()
    u, log_det = sequential(flow)(v, shared)
    u_ref, log_det_ref = loop(flow, v, shared.expand(4, 3))
    (got,) = torch.autograd.grad(u.sum() + log_det.sum(), shared)
    (expected,) = torch.autograd.grad(u_ref.sum() + log_det_ref.sum(), shared)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@both
def test_gradient_of_the_log_determinant_alone(recipe):
    flow, v, _ = make(recipe, "plain", 0)
    got = gradients(sequential(flow)(v)[1].sum(), flow)
    expected = gradients(loop(flow, v, None)[1].sum(), flow)
    assert_same_gradients(got, expected, 1e-10)


@both
def test_gradient_in_float32(recipe):
    flow, v, _ = make(recipe, "plain", 0)
    expected = gradients(sum(t.sum() for t in sequential(flow)(v)), flow)
    single = flow.float()
    got = gradients(sum(t.sum() for t in sequential(single)(v.float())), single)
    assert_same_gradients(got, {k: g.float() for k, g in expected.items()}, 1e-4)


@both
def test_a_frozen_network_still_passes_the_gradient_on(recipe):
    flow, v, _ = make(recipe, "plain", 0)
    v.requires_grad_()
    (expected,) = torch.autograd.grad(sequential(flow)(v)[0].sum(), v)
    flow.requires_grad_(False)
    (got,) = torch.autograd.grad(sequential(flow)(v)[0].sum(), v)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


@both
@pytest.mark.parametrize("batch", [(), (0,), (2, 0, 3)], ids=str)
def test_gradients_of_points_without_a_batch_and_of_empty_batches(recipe, batch):
    flow, _, _ = make(recipe, "plain", 0)
    v = points(*batch, 5).requires_grad_()
    u, log_det = sequential(flow)(v)
    (got,) = torch.autograd.grad(u.sum() + log_det.sum(), v)
    u, log_det = loop(flow, v, None)
    (expected,) = torch.autograd.grad(u.sum() + log_det.sum(), v)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
