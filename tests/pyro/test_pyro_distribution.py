"""FlowDistribution as a Pyro distribution."""

import functools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.infer.reparam import TransformReparam
from torch import nn

import pyro_flowkit as fk
from tests.pyro.helpers import SMALL, TRANSFORMS, large, points, standard_normal

every_transform = pytest.mark.parametrize("name", TRANSFORMS)


def density_of(name, **kwargs):
    owner, transform = TRANSFORMS[name]()
    context = None if transform is owner else transform.context
    return fk.FlowDistribution(owner, context=context, **kwargs)


def test_a_linear_flow_has_the_density_of_the_gaussian():
    flow = large(fk.lu_linear(4))
    columns = flow.forward_and_log_det(torch.eye(4).double())[0] - flow.shift
    gaussian = dist.MultivariateNormal(flow.shift, columns.T @ columns)
    x = points(20, 4)
    torch.testing.assert_close(fk.FlowDistribution(flow).log_prob(x), gaussian.log_prob(x))


@every_transform
def test_the_density_is_that_of_the_change_of_variables(name):
    density = density_of(name)
    z = points(4)
    x = density.flow.forward_and_log_det(z)[0]
    jacobian = torch.autograd.functional.jacobian(
        lambda z: density.flow.forward_and_log_det(z)[0], z
    )
    expected = standard_normal(4).log_prob(z) - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(density.log_prob(x.clone()), expected, rtol=1e-7, atol=1e-7)


@every_transform
def test_shapes_without_and_with_a_sample_shape(name):
    density = density_of(name)
    assert (density.batch_shape, density.event_shape) == ((), (4,))
    assert density.sample().shape == (4,)
    assert density.sample((2, 3)).shape == (2, 3, 4)
    assert density.log_prob(density.sample((2, 3))).shape == (2, 3)


@every_transform
def test_it_is_a_pyro_distribution_with_reparametrised_draws(name):
    density = density_of(name)
    assert isinstance(density, dist.TransformedDistribution)
    assert density.has_rsample
    assert density.rsample().requires_grad
    assert not density.sample().requires_grad


@every_transform
def test_draws_are_the_flow_of_the_bases_draws(name):
    density = density_of(name)
    torch.manual_seed(4)
    x = density.sample((5,))
    torch.manual_seed(4)
    z = standard_normal(4).sample((5,))
    torch.testing.assert_close(x, density.flow.forward_and_log_det(z)[0])


@every_transform
def test_expand_changes_the_batch_shape_alone(name):
    density = density_of(name)
    wide = density.expand([3, 2])
    assert type(wide) is fk.FlowDistribution
    assert (wide.batch_shape, wide.event_shape) == ((3, 2), (4,))
    assert wide.rsample((5,)).shape == (5, 3, 2, 4)
    x = points(3, 2, 4)
    torch.testing.assert_close(wide.log_prob(x), density.log_prob(x))


@every_transform
def test_expanded_draws_differ(name):
    x = density_of(name).expand([6]).sample()
    assert (x[1:] - x[:1]).abs().amax(-1).min() > 1e-6


@every_transform
def test_to_event_sums_over_the_batch(name):
    density = density_of(name).expand([3])
    x = points(3, 4)
    event = density.to_event(1)
    assert (event.batch_shape, event.event_shape) == ((), (3, 4))
    torch.testing.assert_close(event.log_prob(x), density.log_prob(x).sum())


@every_transform
def test_mask_hides_rows(name):
    density = density_of(name).expand([3])
    x = points(3, 4)
    shown = density.mask(torch.tensor([True, False, True])).log_prob(x)
    expected = density.log_prob(x) * torch.tensor([1.0, 0.0, 1.0]).double()
    torch.testing.assert_close(shown, expected)


@every_transform
def test_a_plate_expands_it(name):
    density = density_of(name)

    def model():
        with pyro.plate("outer", 3, dim=-2), pyro.plate("inner", 2, dim=-1):
            return pyro.sample("x", density)

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["x"]
    assert site["value"].shape == (3, 2, 4)
    assert site["log_prob"].shape == (3, 2)
    torch.testing.assert_close(site["log_prob"], density.log_prob(site["value"].clone()))


def test_the_default_base_has_the_flows_dtype():
    for dtype in (torch.float32, torch.float64):
        assert fk.FlowDistribution(large(fk.maf(3, **SMALL), dtype=dtype)).sample().dtype == dtype


def test_a_base_with_a_batch_gives_its_batch_shape():
    base = dist.Normal(points(5, 4), torch.ones(5, 4).double()).to_event(1)
    density = fk.FlowDistribution(TRANSFORMS["maf"]()[0], base)
    assert (density.batch_shape, density.event_shape) == ((5,), (4,))
    assert density.sample((2,)).shape == (2, 5, 4)


def test_another_base_enters_the_density():
    base = dist.StudentT(torch.full((4,), 5.0).double()).to_event(1)
    flow = TRANSFORMS["coupling"]()[0]
    x = points(6, 4)
    z, log_det = flow.inverse_and_log_det(x)
    torch.testing.assert_close(
        fk.FlowDistribution(flow, base).log_prob(x), base.log_prob(z) + log_det
    )


def test_validation_refuses_values_that_are_not_real():
    bad = torch.tensor([0.0, float("nan"), 0.0, 0.0]).double()
    with pytest.raises(ValueError, match="to be within the support"):
        density_of("maf", validate_args=True).log_prob(bad)


@every_transform
def test_it_fits_data_in_svi(name):
    owner, _ = TRANSFORMS[name]()
    density = density_of(name)
    data = points(30, 4, seed=3)

    def model(data):
        pyro.module("flow", density.flow if isinstance(density.flow, fk.Flow) else owner)
        with pyro.plate("rows", len(data), subsample_size=10) as rows:
            pyro.sample("x", density, obs=data[rows])

    svi = SVI(model, lambda data: None, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())
    assert all(torch.isfinite(torch.tensor([svi.step(data) for _ in range(3)])))


@pytest.mark.parametrize("recipe", [fk.realnvp, fk.maf, fk.iaf])
def test_a_flow_prior_of_a_vae_trains_with_vectorised_particles(recipe):
    prior = recipe(2, **SMALL)
    encoder, decoder = nn.Linear(5, 4), nn.Linear(2, 5)
    data = points(12, 5, dtype=torch.float32) @ points(5, 5, seed=2, dtype=torch.float32)

    def model(data):
        pyro.module("prior", prior)
        pyro.module("decoder", decoder)
        with pyro.plate("rows", len(data)):
            z = pyro.sample("z", fk.FlowDistribution(prior))
            pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=data)

    def guide(data):
        pyro.module("encoder", encoder)
        with pyro.plate("rows", len(data)):
            loc, raw = encoder(data).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, (raw / 4).exp()).to_event(1))

    elbo = Trace_ELBO(num_particles=3, vectorize_particles=True)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.02}), elbo)
    start = {name: p.detach().clone() for name, p in prior.named_parameters()}
    losses = [svi.step(data) for _ in range(40)]
    assert sum(losses[-5:]) < sum(losses[:5])
    assert any((p - start[name]).abs().max() > 1e-3 for name, p in prior.named_parameters())


def flow_prior_model(flow, data=None):
    with pyro.plate("rows", 3):
        z = pyro.sample("z", fk.FlowDistribution(flow))
        return pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=data)


def test_transform_reparam_splits_a_flow_prior_into_base_and_flow():
    flow = large(fk.maf(2, **SMALL), dtype=torch.float32)
    split = poutine.reparam(flow_prior_model, {"z": TransformReparam()})
    nodes = poutine.trace(split).get_trace(flow).nodes
    assert nodes["z_base"]["value"].shape == (3, 2)
    assert nodes["z"]["infer"].get("_deterministic") or nodes["z"]["is_observed"]
    expected = flow.forward_and_log_det(nodes["z_base"]["value"])[0]
    torch.testing.assert_close(nodes["z"]["value"], expected)


def test_transform_reparam_trains_with_an_autoguide():
    flow = large(fk.realnvp(2, **SMALL), dtype=torch.float32)
    split = poutine.reparam(flow_prior_model, {"z": TransformReparam()})
    model = functools.partial(split, flow)
    data = torch.tensor([[1.0, 2.0], [0.0, 1.0], [-1.0, 0.0]])
    svi = SVI(model, AutoNormal(model), pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    losses = [svi.step(data) for _ in range(30)]
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive_draws_from_a_flow_prior(parallel):
    flow = large(fk.realnvp(2, **SMALL), dtype=torch.float32)
    model = functools.partial(flow_prior_model, flow)
    draws = Predictive(model, num_samples=5, parallel=parallel)()
    assert draws["z"].shape == (5, 3, 2)
    assert draws["x"].shape == (5, 3, 2)


def test_a_flow_prior_works_under_nuts():
    flow = large(fk.realnvp(2, **SMALL), dtype=torch.float32)
    data = torch.tensor([[1.0, 2.0], [0.0, 1.0], [-1.0, 0.0]])
    kernel = pyro.infer.NUTS(functools.partial(flow_prior_model, flow), max_tree_depth=3)
    mcmc = pyro.infer.MCMC(kernel, num_samples=5, warmup_steps=5, disable_progbar=True)
    mcmc.run(data)
    assert mcmc.get_samples()["z"].shape == (5, 3, 2)


def test_the_divergence_of_one_flow_over_two_bases_is_that_of_the_bases():
    flow = large(fk.maf(4, **SMALL))
    one, two = standard_normal(4), dist.Normal(torch.ones(4).double(), 2.0).to_event(1)
    divergence = torch.distributions.kl_divergence
    got = divergence(fk.FlowDistribution(flow, one), fk.FlowDistribution(flow, two))
    torch.testing.assert_close(got, divergence(one, two))
    with pytest.raises(NotImplementedError):
        divergence(fk.FlowDistribution(flow), fk.FlowDistribution(large(fk.maf(4, **SMALL))))
