"""Inverses, registering with Pyro, saving with torch's and Pyro's own means."""

import io
import pickle

import pyro
import pytest
import torch
from pyro import nn as pnn

import pyro_flowkit as fk
from tests.pyro.helpers import RECIPES, SMALL, TRANSFORMS, large, points

every_transform = pytest.mark.parametrize("name", TRANSFORMS)
every_recipe = pytest.mark.parametrize("name", RECIPES)


@every_transform
def test_the_inverse_of_the_inverse_is_the_transform_itself(name):
    _, transform = TRANSFORMS[name]()
    assert transform.inv.inv is transform


@every_transform
def test_inv_survives_a_pickle(name):
    _, transform = TRANSFORMS[name]()
    x = points(3, 4)
    expected = transform.inv(x)
    again = pickle.loads(pickle.dumps(transform.inv))
    torch.testing.assert_close(again(x), expected, rtol=0, atol=0)
    fresh = transform.forward_and_log_det(expected)[0]
    torch.testing.assert_close(again.inv(expected), fresh, rtol=0, atol=0)


@every_transform
def test_a_transform_survives_a_pickle_after_use(name):
    _, transform = TRANSFORMS[name]()
    z = points(3, 4)
    x = transform(z)
    again = pickle.loads(pickle.dumps(transform))
    torch.testing.assert_close(again(z), x, rtol=0, atol=0)
    torch.testing.assert_close(again.inv(x), transform.inv(x))


class Model(pnn.PyroModule):
    def __init__(self):
        super().__init__()
        self.flow = fk.maf(3, **SMALL)


def test_a_flow_registers_as_an_attribute_of_a_pyro_module():
    model = Model()
    with pyro.poutine.trace(param_only=True) as trace:
        _ = [getattr(m, n) for m in model.modules() for n, _ in m.named_parameters(recurse=False)]
    own = {f"flow.{name}" for name, _ in fk.maf(3, **SMALL).named_parameters()}
    assert {name for name, _ in model.named_parameters()} == own
    del trace


def test_pyro_module_registers_every_weight_under_its_name():
    flow = fk.maf(3, **SMALL)
    pyro.module("flow", flow)
    expected = {f"flow$$${name}" for name, _ in flow.named_parameters()}
    assert set(pyro.get_param_store().keys()) == expected


def test_a_pyro_module_attribute_trains_in_svi():
    model_of = Model()
    data = points(20, 3, dtype=torch.float32) + 2

    def model(data):
        pyro.module("model", model_of)
        with pyro.plate("rows", len(data)):
            pyro.sample("x", fk.FlowDistribution(model_of.flow), obs=data)

    svi = pyro.infer.SVI(
        model, lambda data: None, pyro.optim.Adam({"lr": 0.02}), pyro.infer.Trace_ELBO()
    )
    losses = [svi.step(data) for _ in range(30)]
    assert losses[-1] < losses[0] - 10


def test_the_param_store_saves_and_loads_a_flow(tmp_path):
    flow = large(fk.realnvp(3, **SMALL))
    pyro.module("flow", flow)
    pyro.get_param_store().save(tmp_path / "store.pt")
    pyro.clear_param_store()
    pyro.get_param_store().load(tmp_path / "store.pt")
    other = fk.realnvp(3, **SMALL).double()
    other = pyro.module("flow", other, update_module_params=True)
    z = points(5, 3)
    torch.testing.assert_close(other(z), flow(z), rtol=0, atol=0)


@every_recipe
def test_state_dict_loads_with_weights_only(name):
    flow = large(RECIPES[name](4))
    file = io.BytesIO()
    torch.save(flow.state_dict(), file)
    file.seek(0)
    other = RECIPES[name](4).double()
    other.load_state_dict(torch.load(file, weights_only=True))
    z = points(5, 4)
    torch.testing.assert_close(other(z), flow(z), rtol=0, atol=0)


@every_recipe
def test_a_whole_flow_goes_through_torch_save(name):
    flow = large(RECIPES[name](4))
    z = points(5, 4)
    x = flow(z)
    file = io.BytesIO()
    torch.save(flow, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    torch.testing.assert_close(again(z), x, rtol=0, atol=0)


@every_recipe
def test_save_flow_and_load_flow_keep_every_number(name, tmp_path):
    flow = large(RECIPES[name](4))
    fk.save_flow(flow, tmp_path / "flow.safetensors")
    again = fk.load_flow(tmp_path / "flow.safetensors")
    z = points(5, 4)
    assert again.spec == flow.spec
    torch.testing.assert_close(again(z), flow(z), rtol=0, atol=0)


def test_a_base_without_to_event_is_reinterpreted():
    flow = large(fk.maf(3, **SMALL))
    plain = torch.distributions.Normal(torch.zeros(3).double(), torch.ones(3).double())
    x = points(5, 3)
    got = torch.distributions.TransformedDistribution(plain, [flow])
    assert (got.batch_shape, got.event_shape) == ((), (3,))
    torch.testing.assert_close(got.log_prob(x), fk.FlowDistribution(flow).log_prob(x))
