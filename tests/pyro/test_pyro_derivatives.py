"""Derivatives of every order and mode through the sequential direction, against the plain loop."""

import pytest
import torch
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

import pyro_flowkit as fk
from pyro_flowkit.laws import Affine
from pyro_flowkit.transforms import InverseAutoregressive, MaskedAutoregressive
from tests.pyro.helpers import OwnMaskedNet, large, points
from tests.pyro.reference import loop, sequential

SMOOTH = {"num_layers": 2, "hidden_dims": (7, 6), "activation": "tanh"}
FLOWS = {
    "maf": lambda: large(fk.maf(4, **SMOOTH)),
    "iaf": lambda: large(fk.iaf(4, **SMOOTH)),
    "maf fixed point": lambda: large(fk.maf(4, **SMOOTH, inverse="fixed_point")),
    "iaf context": lambda: large(fk.iaf(3, **SMOOTH, context_dim=2)),
    "maf residual": lambda: large(
        fk.maf(3, num_layers=1, hidden_dims=(6,), residual=True, activation="silu")
    ),
    "maf one coordinate": lambda: large(fk.maf(1, num_layers=1, hidden_dims=(5,))),
    "own maf": lambda: large(
        MaskedAutoregressive(OwnMaskedNet(4, 2, 0), Affine(bound=1.5), (2, 0, 3, 1))
    ),
    "own iaf": lambda: large(
        InverseAutoregressive(OwnMaskedNet(4, 2, 0), Affine(bound=1.5), (2, 0, 3, 1))
    ),
}
every_flow = pytest.mark.parametrize("name", FLOWS)


def functions(name, batch=3):
    """The flow's function and the loop's, of (point, weights), with values for both."""
    flow = FLOWS[name]()
    order = (2, 0, 3, 1) if name.startswith("own") else None
    v = points(batch, flow.input_dim)
    context = points(batch, flow.context_dim, seed=8) if flow.context_dim else None
    weights = {k: p.detach() for k, p in flow.named_parameters()}

    def with_weights(function):
        caller = _Caller(flow, function)

        def of(v, weights):
            return functional_call(caller, {f"flow.{k}": w for k, w in weights.items()}, (v,))

        return of

    by_flow = with_weights(lambda flow, v: sequential(flow)(v, context))
    by_loop = with_weights(lambda flow, v: loop(flow, v, context, order))
    return by_flow, by_loop, v, weights


class _Caller(torch.nn.Module):
    """A function of a flow as the forward method that ``functional_call`` wants."""

    def __init__(self, flow, function):
        super().__init__()
        self.flow = flow
        self.function = function

    def forward(self, v):
        return self.function(self.flow, v)


def scalar(function):
    """A number that depends on both outputs, unevenly and not linearly."""

    def of(v, weights):
        u, log_det = function(v, weights)
        uneven = torch.arange(1.0, 1 + u.numel(), dtype=u.dtype).reshape(u.shape)
        return (u.sin() * uneven.cos()).sum() + (log_det**2).sum() / 2

    return of


def same(got, expected, tolerance=1e-10):
    """Trees of equal tensors, relative to the largest entry of each."""
    got, _ = torch.utils._pytree.tree_flatten(got)
    expected, _ = torch.utils._pytree.tree_flatten(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        size = max(1e-3, float(b.abs().max())) if b.numel() else 0.0
        assert ((a - b).abs() <= tolerance * size).all()


@every_flow
def test_forward_mode(name):
    by_flow, by_loop, v, weights = functions(name)
    d_v = points(*v.shape, seed=3)
    d_weights = {k: points(*w.shape, seed=4) for k, w in weights.items()}
    results = [jvp(f, (v, weights), (d_v, d_weights)) for f in (by_flow, by_loop)]
    same(*results)
    assert results[1][1][0].abs().max() > 0.1


@every_flow
def test_reverse_mode_of_the_functional_kind(name):
    by_flow, by_loop, v, weights = functions(name)
    results = [grad(scalar(f), argnums=(0, 1))(v, weights) for f in (by_flow, by_loop)]
    same(*results)


@every_flow
@pytest.mark.parametrize("jacobian", [jacfwd, jacrev])
def test_jacobians(name, jacobian):
    by_flow, by_loop, v, weights = functions(name, batch=2)
    same(jacobian(by_flow)(v, weights), jacrev(by_loop)(v, weights))


@every_flow
@pytest.mark.parametrize(
    "outer_inner", [(jacfwd, jacrev), (jacrev, jacrev), (jacrev, jacfwd), (jacfwd, jacfwd)],
    ids=["forward over reverse", "reverse over reverse", "reverse over forward", "forward twice"],
)  # fmt: skip
def test_second_derivatives_by_the_point(name, outer_inner):
    outer, inner = outer_inner
    by_flow, by_loop, v, weights = functions(name, batch=2)
    got = outer(inner(scalar(by_flow)))(v, weights)
    expected = hessian(scalar(by_loop))(v, weights)
    same(got, expected)
    assert expected.abs().max() > 1e-3


@every_flow
def test_double_backward_by_point_and_weights(name):
    by_flow, by_loop, v, weights = functions(name)
    results = []
    for f in (by_flow, by_loop):
        leaves = [
            v.clone().requires_grad_(),
            *(w.clone().requires_grad_() for w in weights.values()),
        ]
        named = dict(zip(weights, leaves[1:], strict=True))
        first = torch.autograd.grad(
            scalar(f)(leaves[0], named), leaves, create_graph=True, materialize_grads=True
        )
        mixed = sum((g * points(*g.shape, seed=5)).sum() for g in first)
        results.append(torch.autograd.grad(mixed, leaves, materialize_grads=True))
    same(*results)


def test_third_derivatives():
    by_flow, by_loop, v, weights = functions("maf", batch=1)
    d = points(*v.shape, seed=3)

    def third(f):
        def along(t):
            return scalar(f)(v + t * d, weights)

        return grad(grad(grad(along)))(torch.zeros((), dtype=torch.float64))

    assert abs(float(third(by_loop))) > 1e-2
    torch.testing.assert_close(third(by_flow), third(by_loop), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in FLOWS if "context" not in name])
def test_a_gradient_of_each_point_by_vmap(name):
    by_flow, _, v, weights = functions(name)
    each = vmap(grad(lambda v: scalar(by_flow)(v[None], weights)))(v)
    alone = torch.stack([grad(lambda v: scalar(by_flow)(v[None], weights))(p) for p in v])
    same(each, alone)


def test_an_ensemble_of_weights_by_vmap():
    flow = fk.maf(3, num_layers=2, hidden_dims=(6,)).double()
    members = [large(fk.maf(3, num_layers=2, hidden_dims=(6,)), seed=s) for s in range(3)]
    stacked, _ = torch.func.stack_module_state(members)
    v = points(5, 3)

    def one(weights):
        return functional_call(flow, weights, (v,))

    expected = torch.stack([m(v) for m in members])
    torch.testing.assert_close(vmap(one)(stacked), expected.detach(), rtol=1e-12, atol=1e-12)
    got = vmap(grad(lambda w: (one(w) ** 2).sum()))(stacked)
    for i, member in enumerate(members):
        named = dict(member.named_parameters())
        alone = torch.autograd.grad((member(v) ** 2).sum(), list(named.values()))
        same([got[k][i] for k in named], list(alone))
