"""torch.compile, torch.func and torch.jit give what eager mode gives."""

import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import JitTrace_ELBO, Trace_ELBO
from torch.func import functional_call, grad, jacrev, vmap

import pyro_flowkit as fk
from tests.pyro.helpers import (
    SMALL,
    TRANSFORMS,
    assert_same_gradients,
    gradients,
    large,
    points,
)

ignore_jit = pytest.mark.filterwarnings(
    r"ignore:`torch\.jit\.\w+` is deprecated:DeprecationWarning"
)
every_transform = pytest.mark.parametrize("name", TRANSFORMS)
directions = pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function):
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("recipe", [fk.maf, fk.realnvp, fk.nice])
def test_compiled_log_prob_equals_eager(recipe):
    flow = large(recipe(4, **SMALL))
    density = fk.FlowDistribution(flow, validate_args=False)
    x = points(5, 4)
    got = compiled(density.log_prob)(x)
    expected = density.log_prob(x.clone())
    torch.testing.assert_close(got, expected)
    assert_same_gradients(gradients(got.sum(), flow), gradients(expected.sum(), flow))


@pytest.mark.parametrize("recipe", [fk.iaf, fk.realnvp, fk.nice])
def test_compiled_sampling_equals_eager(recipe):
    flow = large(recipe(4, **SMALL))
    z = points(5, 4)

    def sample_and_score(z):
        x = flow(z)
        return x, flow.log_abs_det_jacobian(z, x)

    torch.testing.assert_close(compiled(sample_and_score)(z), flow.forward_and_log_det(z))


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf, fk.realnvp])
def test_splines_compile_without_a_break(recipe):
    flow = large(recipe(3, num_layers=1, hidden_dims=(5,), law="spline"))
    parallel = flow.forward_and_log_det if recipe is fk.iaf else flow.inverse_and_log_det
    values = points(4, 3).requires_grad_()
    got, expected = compiled(parallel)(values), parallel(values)
    torch.testing.assert_close(got, expected)
    pairs = [
        torch.autograd.grad(u.sum() + log_det.sum(), values)[0] for u, log_det in (got, expected)
    ]
    torch.testing.assert_close(*pairs)


def test_the_sequential_direction_breaks_the_graph_without_complaint():
    flow = large(fk.maf(4, **SMALL))
    z = points(5, 4).requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*[Dd]ynamo.*")
        x, log_det = torch.compile(flow.forward_and_log_det, backend="aot_eager")(z)
    expected, expected_log_det = flow.forward_and_log_det(z)
    torch.testing.assert_close(x, expected, rtol=1e-10, atol=1e-10)
    (got,) = torch.autograd.grad(x.sum() + log_det.sum(), z)
    (want,) = torch.autograd.grad(expected.sum() + expected_log_det.sum(), z)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_a_compiled_call_leaves_the_cache_alone():
    flow = large(fk.iaf(4, **SMALL))
    z = points(5, 4)
    compiled(lambda z: flow(z))(z)
    assert flow._entry is None


def test_compiled_conditional_log_prob_equals_eager():
    flow = large(fk.maf(4, context_dim=2, **SMALL))
    x, context = points(5, 4), points(5, 2, seed=3)

    def log_det(x, context):
        return flow.inverse_and_log_det(x, context)

    torch.testing.assert_close(compiled(log_det)(x, context), log_det(x, context))


@every_transform
@directions
def test_jacrev_equals_autograd(name, direction):
    _, transform = TRANSFORMS[name]()
    function = getattr(transform, direction)
    z = points(4)
    expected = torch.autograd.functional.jacobian(lambda z: function(z)[0], z)
    torch.testing.assert_close(jacrev(lambda z: function(z)[0])(z), expected)


@every_transform
@directions
def test_vmap_equals_the_batch(name, direction):
    _, transform = TRANSFORMS[name]()
    function = getattr(transform, direction)
    z = points(5, 4)
    torch.testing.assert_close(vmap(function)(z), function(z))


@every_transform
@directions
def test_per_example_gradients_equal_one_backward_pass_each(name, direction):
    flow, transform = TRANSFORMS[name]()
    context = None if transform is flow else transform.context
    z, direction_of_loss = points(3, 4), points(4, seed=9)
    weights = {k: p.detach() for k, p in flow.named_parameters()}

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def forward(self, z):
            value, log_det = getattr(self.flow, direction)(z, context)
            return (value * direction_of_loss).sum() + log_det

    loss = Loss()
    named = {f"flow.{k}": p for k, p in weights.items()}
    got = vmap(grad(lambda w, z: functional_call(loss, w, (z,))), in_dims=(None, 0))(named, z)
    for i in range(3):
        expected = gradients(loss(z[i]), flow)
        row = {k.removeprefix("flow."): g[i] for k, g in got.items()}
        assert_same_gradients(row, expected)


@every_transform
@directions
def test_an_ensemble_of_weights_can_be_mapped(name, direction):
    flow, transform = TRANSFORMS[name]()
    context = None if transform is flow else transform.context
    z = points(5, 4)
    function = getattr(flow, direction)
    stacked = {k: torch.stack([p.detach(), 0.5 * p.detach()]) for k, p in flow.named_parameters()}

    class Call(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def forward(self, z):
            return getattr(self.flow, direction)(z, context)

    call = Call()
    named = {f"flow.{k}": p for k, p in stacked.items()}
    values, log_dets = vmap(lambda w: functional_call(call, w, (z,)))(named)
    torch.testing.assert_close((values[0], log_dets[0]), function(z, context))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.mul_(0.5)
        torch.testing.assert_close((values[1], log_dets[1]), function(z, context))


def model():
    x = pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
    with pyro.plate("rows", 4):
        pyro.sample("y", dist.Normal(x.sum(), scale), obs=torch.tensor([1.0, 2.0, 0.5, 1.5]))


@ignore_jit
@pytest.mark.parametrize("guide_type", [fk.AutoMAF, fk.AutoIAF, fk.AutoRealNVP])
@pytest.mark.parametrize("vectorized", [False, True])
def test_jit_trace_elbo_gives_the_gradients_of_trace_elbo(guide_type, vectorized):
    guide = guide_type(model, base="normal", path_gradient=False, **SMALL)  # paths are not traced
    guide()
    *_, frame = guide.get_transform().parts
    trained = {
        n: p for n, p in guide.named_parameters() if all(p is not q for q in frame.parameters())
    }
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(0.3 * torch.randn_like(parameter))
    options = {"num_particles": 3, "vectorize_particles": vectorized, "max_plate_nesting": 1}
    results = []
    for elbo in (Trace_ELBO(**options), JitTrace_ELBO(**options, ignore_jit_warnings=True)):
        for _ in range(2):  # the second call runs what the first one compiled
            guide.zero_grad()
            torch.manual_seed(5)
            loss = elbo.loss_and_grads(model, guide)
        results.append({name: p.grad.clone() for name, p in trained.items()})
        results[-1]["loss"] = torch.tensor(loss)
    assert max(g.abs().max() for g in results[0].values()) > 0.1
    assert_same_gradients(results[1], results[0], 1e-4)
