"""Small flows with large random weights, and counters of what an evaluation costs."""

import contextlib
import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pyro_flowkit as fk
from pyro_flowkit.transforms import Autoregressive, Coupling
from pyro_flowkit.transforms.made_solver import MADESolver

SMALL = {"num_layers": 2, "hidden_dims": (8,)}

# Every recipe, as a function of the dimension.
RECIPES = {
    "maf": lambda d, **kw: fk.maf(d, **SMALL, **kw),
    "iaf": lambda d, **kw: fk.iaf(d, **SMALL, **kw),
    "realnvp": lambda d, **kw: fk.realnvp(d, **SMALL, **kw),
    "nice": lambda d, **kw: fk.nice(d, **SMALL, **kw),
    "lu_linear": fk.lu_linear,
    "qr_linear": fk.qr_linear,
    "permute": lambda d: fk.permute(d, order=tuple(reversed(range(d)))),
    "compose": lambda d: fk.compose(
        fk.permute(d, order=tuple(reversed(range(d)))), fk.qr_linear(d), fk.realnvp(d, **SMALL)
    ),
}
CONDITIONAL = ("maf", "iaf", "realnvp", "nice")


def large(flow, *, seed=0, dtype=torch.float64):
    """The flow with every weight drawn anew, so that every network output is of order one."""
    generator = torch.Generator().manual_seed(seed)
    flow = flow.to(dtype)
    with torch.no_grad():
        for parameter in flow.parameters():
            fan_in = parameter.shape[-1] if parameter.dim() > 1 else 4
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(values * 1.4 / max(fan_in, 1) ** 0.5)
    return flow


def points(*shape, seed=1, dtype=torch.float64):
    """Standard Normal numbers from a seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def layer(recipe, input_dim, **kwargs):
    """The only layer of a one-layer flow."""
    return recipe(input_dim, **{"num_layers": 1, "hidden_dims": (8,), **kwargs}).layers[0]


def mixed_compose(input_dim=4, context_dim=0):
    """A composition in which every kind of layer occurs."""
    order = (*range(1, input_dim), 0)
    return fk.compose(
        fk.realnvp(input_dim, **SMALL, context_dim=context_dim),
        fk.permute(input_dim, order=order),
        fk.lu_linear(input_dim),
        fk.maf(input_dim, **SMALL, context_dim=context_dim),
        fk.qr_linear(input_dim),
        fk.iaf(input_dim, **SMALL, context_dim=context_dim),
    )


# name -> (module that owns the weights, transform of 4 coordinates)
def _own(flow):
    return flow, flow


def _conditioned():
    flow = large(mixed_compose(4, context_dim=3))
    return flow, flow.condition(points(3, seed=5))


TRANSFORMS = {
    "coupling": lambda: _own(large(layer(fk.realnvp, 4))),
    "maf": lambda: _own(large(fk.maf(4, **SMALL))),
    "iaf": lambda: _own(large(fk.iaf(4, **SMALL))),
    "compose": lambda: _own(large(mixed_compose())),
    "conditioned": _conditioned,
}


def untouched(flow):
    """A copy of a flow that has evaluated nothing yet."""
    return copy.deepcopy(flow)


def standard_normal(dim, dtype=torch.float64):
    """N(0, I) as an unregistered torch distribution."""
    zeros = torch.zeros(dim, dtype=dtype)
    return torch.distributions.Independent(torch.distributions.Normal(zeros, zeros + 1), 1)


def gradients(loss, flow, others=None):
    """Gradient of a scalar with respect to every weight (and to ``others``), by name."""
    named = {**dict(flow.named_parameters()), **(others or {})}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(named.items(), found, strict=True)
    }


def assert_same_gradients(got, expected, tolerance=1e-10):
    """Each gradient equals the expected one, relative to its largest entry."""
    assert got.keys() == expected.keys()
    for name, reference in expected.items():
        size = max(float(reference.abs().max()) if reference.numel() else 0.0, 1e-6)
        worst = float((got[name] - reference).abs().max()) if reference.numel() else 0.0
        assert worst <= tolerance * size, f"{name}: {worst:.2e} of {size:.2e}"


class Calls:
    """Number of evaluations of networks, parallel passes and sweeps together."""

    def __init__(self):
        self.count = 0

    def add(self, *_):
        self.count += 1


@contextlib.contextmanager
def network_calls(flow, monkeypatch):
    """Count the evaluations of every conditioner in ``flow``, a whole solve as one."""
    calls = Calls()
    hooks = [
        m.conditioner.register_forward_hook(calls.add)
        for m in flow.modules()
        if isinstance(m, Autoregressive | Coupling)
    ]
    real = MADESolver.solve

    def counting_solve(self, v):
        calls.add()
        return real(self, v)

    with monkeypatch.context() as patch:
        patch.setattr(MADESolver, "solve", counting_solve)
        yield calls
    for hook in hooks:
        hook.remove()


def num_networks(flow):
    """How many conditioners a flow holds."""
    return sum(isinstance(m, Autoregressive | Coupling) for m in flow.modules())


def multiplications(function):
    """Floating-point operations of the matrix products in ``function()``."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


class OwnMaskedNet(nn.Module):
    """A user's own masked network: position j sees ``sin`` of positions below j."""

    def __init__(self, input_dim, num_params, context_dim=0, *, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))

        self.weight = draw(num_params, input_dim, input_dim)
        self.bias = draw(num_params, input_dim)
        self.context_weight = draw(num_params, input_dim, context_dim)
        self.register_buffer(
            "mask", torch.tril(torch.ones(input_dim, input_dim, dtype=torch.float64), -1)
        )

    def forward(self, inputs, context=None):
        raw = torch.einsum("pij,...j->...pi", self.weight * self.mask, torch.sin(inputs))
        raw = raw + self.bias
        if context is not None:
            raw = raw + torch.einsum("pic,...c->...pi", self.context_weight, context)
        return raw.flatten(-2)
