"""What Pyro and torch demand of a transform."""

import functools
import inspect

import pytest
import torch
from pyro.distributions import TransformModule
from pyro.distributions.transforms import iterated
from torch.distributions import constraints
from torch.distributions.transforms import Transform

import pyro_flowkit as fk
from tests.pyro.helpers import RECIPES, large, points

every_recipe = pytest.mark.parametrize("name", RECIPES)


def build(name, dim=4):
    return large(RECIPES[name](dim))


@every_recipe
def test_a_flow_is_a_transform_and_a_module(name):
    flow = build(name)
    assert isinstance(flow, TransformModule)
    assert isinstance(flow, Transform)
    assert isinstance(flow, torch.nn.Module)


@every_recipe
def test_domain_and_codomain_are_real_vectors(name):
    flow = build(name)
    assert flow.domain is constraints.real_vector
    assert flow.codomain is constraints.real_vector
    assert (flow.domain.event_dim, flow.codomain.event_dim) == (1, 1)
    assert flow.bijective is True
    assert flow.sign == 1


@every_recipe
@pytest.mark.filterwarnings(r"ignore:`torch\.jit\.\w+` is deprecated:DeprecationWarning")
def test_trace_module_traces_sampling_and_scoring(name):
    class Density(torch.nn.Module):
        def __init__(self, flow):
            super().__init__()
            self.flow = flow

        def sample(self, z):
            return self.flow(z)

        def score(self, x):
            return fk.FlowDistribution(self.flow, validate_args=False).log_prob(x)

    flow = build(name)
    example, other = points(3, 4), points(3, 4, seed=9)
    traced = torch.jit.trace_module(
        Density(flow), {"sample": example, "score": example}, check_trace=False
    )
    torch.testing.assert_close(traced.sample(other), flow(other))
    torch.testing.assert_close(traced.score(other), fk.FlowDistribution(flow).log_prob(other))


@every_recipe
def test_call_and_inverse_are_pure(name):
    flow = build(name)
    z = points(3, 4)
    x = flow(z)  # an entry for (z, x) is in the cache now
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.data.mul_(0.5)  # no counter moves
    fresh = large(RECIPES[name](4))
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.mul_(0.5)
    torch.testing.assert_close(flow._call(z), fresh(z), rtol=0, atol=0)
    torch.testing.assert_close(flow._inverse(x), fresh.inv(x), rtol=0, atol=0)


@every_recipe
def test_log_abs_det_jacobian_is_that_of_the_dense_jacobian(name):
    flow = build(name)
    z = points(4)
    jacobian = torch.autograd.functional.jacobian(flow, z)
    log_det = flow.log_abs_det_jacobian(z, flow(z))
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet)


@every_recipe
@pytest.mark.parametrize("batch", [(), (3,), (7, 1), (2, 1, 3), (0,), (2, 0)], ids=str)
def test_any_leading_dimensions_are_accepted(name, batch):
    flow = build(name)
    z = points(*batch, 4)
    rows = z.reshape(-1, 4)
    for transform, fused in (
        (flow, flow.forward_and_log_det),
        (flow.inv, flow.inverse_and_log_det),
    ):
        value, log_det = fused(z)
        assert (value.shape, log_det.shape) == (z.shape, torch.Size(batch))
        assert transform(z).shape == z.shape
        assert transform.log_abs_det_jacobian(z, value).shape == torch.Size(batch)
        torch.testing.assert_close(value.reshape(-1, 4), fused(rows)[0])
        torch.testing.assert_close(log_det.reshape(-1), fused(rows)[1])


@every_recipe
def test_shapes_are_kept(name):
    flow = build(name)
    shape = torch.Size((7, 1, 4))
    assert flow.forward_shape(shape) == shape
    assert flow.inverse_shape(shape) == shape


@every_recipe
def test_a_shape_of_another_dimension_is_refused(name):
    with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 4\), got \(7, 3\)"):
        build(name).forward_shape(torch.Size((7, 3)))


@every_recipe
def test_float64_flow_stays_float64_in_both_directions(name):
    flow = build(name)
    for output in (
        *flow.forward_and_log_det(points(3, 4)),
        *flow.inverse_and_log_det(points(3, 4)),
    ):
        assert output.dtype == torch.float64


@every_recipe
@pytest.mark.usefixtures("default_float64")
def test_float32_flow_stays_float32_under_another_default(name):
    flow = large(RECIPES[name](4), dtype=torch.float32)
    z = points(3, 4, dtype=torch.float32)
    for output in (*flow.forward_and_log_det(z), *flow.inverse_and_log_det(z)):
        assert output.dtype == torch.float32


@every_recipe
@pytest.mark.usefixtures("default_float64")
def test_a_flow_is_built_in_the_default_dtype(name):
    assert {t.dtype for t in RECIPES[name](4).parameters()} <= {torch.float64}


@every_recipe
def test_every_tensor_moves_with_the_flow(name):
    flow = build(name).to("meta")
    for module in flow.modules():
        tensors = [t for t in vars(module).values() if isinstance(t, torch.Tensor)]
        tensors += [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        assert {str(t.device) for t in tensors} <= {"meta"}
    z = torch.zeros(3, 4, dtype=torch.float64, device="meta")
    if name not in ("maf", "iaf"):  # their sweep ends when it has converged, which meta cannot say
        assert flow(z).device.type == "meta"


@every_recipe
def test_no_flow_claims_upstreams_autoregressive_attribute(name):
    assert not any(hasattr(module, "autoregressive") for module in build(name).modules())


@pytest.mark.parametrize("name", [n for n in RECIPES if n != "compose"])  # which takes flows
def test_a_recipe_takes_the_dimension_first_and_the_rest_by_keyword(name):
    first, *rest = inspect.signature(getattr(fk, name)).parameters.values()
    assert first.name == "input_dim"
    assert {p.kind for p in rest} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf, fk.realnvp, fk.nice])
def test_recipes_work_in_iterated_and_partial(recipe):
    factory = functools.partial(recipe, hidden_dims=(8,))
    flow = large(iterated(2, factory, 4, num_layers=1))
    z = points(5, 4)
    assert len(list(flow.parameters())) == 2 * len(list(factory(4, num_layers=1).parameters()))
    torch.testing.assert_close(flow.inv(flow(z)), z)
