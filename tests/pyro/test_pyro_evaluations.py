"""Sampling and then scoring the sample costs one evaluation of each network."""

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch.distributions import TransformedDistribution

import pyro_flowkit as fk
from pyro_flowkit.transforms.sweep import sweep
from tests.pyro.helpers import (
    TRANSFORMS,
    large,
    multiplications,
    network_calls,
    num_networks,
    points,
    standard_normal,
)

every_transform = pytest.mark.parametrize("name", TRANSFORMS)


def density_of(transform):
    if isinstance(transform, fk.Flow):
        return fk.FlowDistribution(transform)
    return fk.FlowDistribution(transform.flow, context=transform.context)


@every_transform
@pytest.mark.parametrize("draw", ["sample", "rsample"])
def test_scoring_a_draw_costs_no_further_call(name, draw, monkeypatch):
    owner, transform = TRANSFORMS[name]()
    density = density_of(transform)
    with torch.set_grad_enabled(draw == "rsample"), network_calls(owner, monkeypatch) as calls:
        density.log_prob(getattr(density, draw)((5,)))
    assert calls.count == num_networks(owner)


@every_transform
def test_scoring_a_draw_costs_no_further_product_under_upstreams_distribution(name, monkeypatch):
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")  # what is compiled goes uncounted
    _, transform = TRANSFORMS[name]()
    density = TransformedDistribution(standard_normal(4), [transform])
    z = points(5, 4)
    sampling = multiplications(lambda: transform.forward_and_log_det(z))
    assert sampling > 0
    assert multiplications(lambda: density.log_prob(density.rsample((5,)))) == sampling


@every_transform
def test_scoring_data_costs_one_call(name, monkeypatch):
    owner, transform = TRANSFORMS[name]()
    with network_calls(owner, monkeypatch) as calls:
        density_of(transform).log_prob(points(5, 4))
    assert calls.count == num_networks(owner)


@every_transform
def test_log_det_after_a_call_costs_no_further_call(name, monkeypatch):
    owner, transform = TRANSFORMS[name]()
    z = points(5, 4)
    with network_calls(owner, monkeypatch) as calls:
        transform.log_abs_det_jacobian(z, transform(z))
    assert calls.count == num_networks(owner)


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
def test_log_det_of_a_foreign_pair_takes_the_one_pass_direction(recipe, monkeypatch):
    flow = large(recipe(4, num_layers=2, hidden_dims=(8,)))
    z = points(5, 4)
    x = flow(z).detach().clone()
    one_pass = flow.inverse_and_log_det if flow.sequential_forward else flow.forward_and_log_det
    expected = multiplications(lambda: one_pass(z))
    assert multiplications(lambda: flow.log_abs_det_jacobian(z, x)) == expected


@pytest.mark.parametrize("vectorized", [False, True])
@every_transform
def test_an_svi_step_costs_one_call(name, vectorized, monkeypatch):
    owner, transform = TRANSFORMS[name]()

    def model():
        pyro.sample("x", standard_normal_of_pyro())

    def guide():
        pyro.module("flow", owner)
        pyro.sample("x", density_of(transform))

    elbo = Trace_ELBO(
        num_particles=3 if vectorized else 1,
        vectorize_particles=vectorized,
        max_plate_nesting=0,
    )
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), elbo)
    with network_calls(owner, monkeypatch) as calls:
        svi.evaluate_loss()
    assert calls.count == num_networks(owner)


def standard_normal_of_pyro():
    return pyro.distributions.Normal(torch.zeros(4).double(), 1.0).to_event(1)


def passes(flow, batch):
    """Multiplications of the sequential direction, in units of the parallel one."""
    z = points(batch, flow.input_dim)
    with torch.no_grad():
        forward = multiplications(lambda: flow.forward_and_log_det(z))
        inverse = multiplications(lambda: flow.inverse_and_log_det(z))
    return forward / inverse if flow.sequential_forward else inverse / forward


@pytest.mark.parametrize("input_dim", [8, 64])
def test_single_steps_do_the_arithmetic_of_one_pass(input_dim):
    layer = large(fk.maf(input_dim, num_layers=1, hidden_dims=(128, 128))).layers[0]
    v = points(input_dim, 5)
    net = layer.solver(layer._others(None), v.device).arranged(v.T)
    with torch.no_grad():
        one_pass = multiplications(lambda: net.evaluate(v))
        steps = multiplications(lambda: sweep(net, layer.law, layer.free, v, depth=1))
    # A step also multiplies its own coordinates by weights that are zero.
    assert 0 < steps <= one_pass


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
def test_blocks_of_steps_do_the_arithmetic_of_a_few_passes(recipe, monkeypatch):
    monkeypatch.setenv("FLOWKIT_COMPILER", "none")
    flow = large(recipe(64, num_layers=1, hidden_dims=(128, 128), inverse="sweep"))
    assert 0.5 < passes(flow, 1024) < 4


def test_sampling_a_maf_of_64_coordinates_never_calls_the_whole_network():
    flow = large(fk.maf(64, num_layers=2, hidden_dims=(32,)))
    calls = []
    for module in flow.layers:
        module.conditioner.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        flow(points(3, 64))
    assert len(calls) == 0


def saved_bytes(function):
    """Bytes that autograd keeps for the backward pass, each storage counted once."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = function()
    del outputs
    return sum(storages.values())


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
@pytest.mark.parametrize("input_dim", [4, 16, 64])
def test_memory_of_the_sequential_direction_does_not_grow_with_its_steps(recipe, input_dim):
    flow = large(recipe(input_dim, num_layers=2, hidden_dims=(64,)))
    z = points(200, input_dim)
    directions = {flow.forward_and_log_det, flow.inverse_and_log_det}
    one_pass = flow.inverse_and_log_det if flow.sequential_forward else flow.forward_and_log_det
    (sequential,) = directions - {one_pass}
    assert saved_bytes(lambda: sequential(z)) <= 1.3 * saved_bytes(lambda: one_pass(z))


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
def test_the_backward_pass_of_the_sequential_direction_saves_one_pass(recipe):
    flow = large(recipe(32, num_layers=1, hidden_dims=(64,)))
    z = points(200, 32)
    sequential = flow.forward_and_log_det if flow.sequential_forward else flow.inverse_and_log_det
    one_pass = flow.inverse_and_log_det if flow.sequential_forward else flow.forward_and_log_det
    x, log_det = sequential(z)
    loss = x.sum() + log_det.sum()
    backward = saved_bytes(loss.backward)
    assert backward <= 3 * saved_bytes(lambda: one_pass(z))
