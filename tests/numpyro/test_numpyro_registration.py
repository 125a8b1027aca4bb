"""Flows as NumPyro parameters, their copies, and flow priors under reparametrisation and NUTS."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from numpyro.infer.reparam import TransformReparam
from numpyro.infer.util import log_density

import numpyro_flowkit as fk
from tests.numpyro.helpers import (
    RECIPES,
    SMALL,
    TRANSFORMS,
    assert_close,
    forward,
    inverse,
    large,
    log_prob,
    points,
)

every_transform = pytest.mark.parametrize("name", TRANSFORMS)
KEY = jax.random.key(2)
DATA = points(20, 3) + 2


def likelihood(data=DATA, init=None):
    flow = numpyro.param("flow", fk.maf(3, **SMALL) if init is None else init)
    with numpyro.plate("rows", len(data)):
        numpyro.sample("x", fk.FlowDistribution(flow), obs=data)


def nothing(*_, **__):
    """The guide of a model without latents."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_registers_as_one_parameter_of_named_weights(name):
    init = RECIPES[name](3)
    trace = handlers.trace(handlers.seed(likelihood, KEY)).get_trace(init=init)
    assert [site for site, node in trace.items() if node["type"] == "param"] == ["flow"]
    flow = trace["flow"]["value"]
    assert isinstance(flow, fk.Flow)
    shapes = {array.name: array.shape for array in init.spec.arrays()}
    assert {name: array.shape for name, array in flow.named_arrays().items()} == shapes


def test_an_optax_chain_trains_a_registered_flow():
    chain = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(0.02))
    svi = SVI(likelihood, nothing, chain, Trace_ELBO())
    result = svi.run(KEY, 60, progress_bar=False)
    assert set(result.params) == {"flow"}
    assert float(result.losses[-1]) < float(result.losses[0]) - 10
    trained = fk.FlowDistribution(result.params["flow"])
    np.testing.assert_allclose(-log_prob(trained, DATA).sum(), svi.evaluate(result.state))


def test_training_goes_on_from_given_parameters():
    flow = large(fk.maf(3, **SMALL))
    svi = SVI(likelihood, nothing, optax.sgd(0.0), Trace_ELBO())
    result = svi.run(KEY, 1, progress_bar=False, init_params={"flow": flow})
    np.testing.assert_allclose(result.losses[0], -log_prob(fk.FlowDistribution(flow), DATA).sum())
    assert result.params["flow"] == flow


def test_a_flow_as_start_value_is_wrapped_in_a_function_of_the_key():
    flow = large(fk.maf(3, **SMALL))
    svi = SVI(likelihood, nothing, optax.sgd(0.0), Trace_ELBO())
    result = svi.run(KEY, 1, progress_bar=False, init=lambda key: flow)
    assert result.params["flow"] == flow


def test_stable_update_skips_what_is_not_a_number():
    svi = SVI(likelihood, nothing, optax.adam(0.02), Trace_ELBO())
    state = svi.init(KEY)
    before = svi.get_params(state)["flow"]
    update = jax.jit(svi.stable_update)
    state, loss = update(state, DATA.at[3, 1].set(jnp.nan))
    assert bool(jnp.isnan(loss))
    assert svi.get_params(state)["flow"] == before
    state, loss = update(state, DATA)
    assert bool(jnp.isfinite(loss))
    assert svi.get_params(state)["flow"] != before


def test_substitute_puts_a_flow_in_place():
    flow = large(fk.maf(3, **SMALL))
    model = handlers.substitute(handlers.seed(likelihood, KEY), {"flow": flow})
    assert handlers.trace(model).get_trace()["flow"]["value"] is flow
    total, _ = log_density(likelihood, (), {}, {"flow": flow})
    np.testing.assert_allclose(total, log_prob(fk.FlowDistribution(flow), DATA).sum())


def test_the_seed_decides_the_weights():
    one, two, other = (
        handlers.trace(handlers.seed(likelihood, jax.random.key(seed))).get_trace()["flow"]["value"]
        for seed in (0, 0, 1)
    )
    assert one == two
    assert one != other


COPIES = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("name", ["maf", "coupling", "conditioned"])
@pytest.mark.parametrize("way", COPIES)
def test_flows_inverses_and_distributions_are_copied(name, way):
    transform, x = TRANSFORMS[name](), points(3, 4)
    inv = transform.inv
    twin = COPIES[way](transform)
    assert twin == transform
    assert_close(forward(twin, x), forward(transform, x), 0, 0)
    twin = COPIES[way](inv)
    assert twin.inv == transform
    assert_close(inverse(twin.inv, x)[0], inverse(transform, x)[0], 0, 0)
    twin = COPIES[way](fk.FlowDistribution(transform))
    assert_close(log_prob(twin, x), log_prob(fk.FlowDistribution(transform), x), 0, 0)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_result_is_copied_and_compared_by_value(name):
    init = RECIPES[name](3)
    for way in COPIES.values():
        assert way(init) == init
        assert hash(way(init)) == hash(init)
    assert init != RECIPES[name](4)


@every_transform
def test_the_inverse_of_the_inverse_is_the_transform_itself(name):
    transform = TRANSFORMS[name]()
    assert transform.inv.inv is transform


def prior_model(flow, y=None):
    with numpyro.plate("rows", 3):
        z = numpyro.sample("z", fk.FlowDistribution(flow))
        numpyro.sample("y", dist.Normal(z, 0.5).to_event(1), obs=y)


@pytest.mark.parametrize("name", ["maf", "realnvp"])
def test_transform_reparam_splits_a_flow_prior_into_base_and_flow(name):
    flow = large(RECIPES[name](2))
    split = handlers.reparam(prior_model, config={"z": TransformReparam()})
    nodes = handlers.trace(handlers.seed(split, KEY)).get_trace(flow)
    assert nodes["z_base"]["type"] == "sample"
    assert nodes["z_base"]["value"].shape == (3, 2)
    assert nodes["z"]["type"] == "deterministic"
    assert_close(nodes["z"]["value"], forward(flow, nodes["z_base"]["value"])[0])


@pytest.mark.slow
@pytest.mark.parametrize("reparam", [False, True], ids=["directly", "reparametrised"])
def test_nuts_samples_the_posterior_under_a_linear_flow_prior(reparam):
    flow, y = large(fk.lu_linear(2)), points(2, seed=3)
    columns = flow(jnp.eye(2)) - flow.shift
    precision = jnp.linalg.inv(columns.T @ columns) + jnp.eye(2) / 0.5**2
    prior_pull = jnp.linalg.solve(columns.T @ columns, flow.shift)
    mean = jnp.linalg.solve(precision, prior_pull + y / 0.5**2)
    covariance = jnp.linalg.inv(precision)

    def model():
        z = numpyro.sample("z", fk.FlowDistribution(flow))
        numpyro.sample("y", dist.Normal(z, 0.5).to_event(1), obs=y)

    model = handlers.reparam(model, config={"z": TransformReparam()}) if reparam else model
    mcmc = MCMC(NUTS(model), num_warmup=200, num_samples=1000, progress_bar=False)
    mcmc.run(KEY)
    z = mcmc.get_samples()["z"]
    spread = jnp.sqrt(jnp.diagonal(covariance))
    assert bool((jnp.abs(z.mean(0) - mean) < 0.2 * spread).all())
    assert bool((jnp.abs(jnp.cov(z.T) - covariance) < 0.2 * jnp.outer(spread, spread)).all())


@pytest.mark.parametrize("recipe", [fk.maf, pytest.param(fk.iaf, marks=pytest.mark.slow)])
def test_nuts_goes_through_the_sequential_direction(recipe):
    flow = large(recipe(2, num_layers=1, hidden_dims=(4,)))
    # A MAF samples coordinate by coordinate, an IAF scores so.
    config = {"z": TransformReparam()} if flow.sequential_forward else {}
    model = handlers.reparam(prior_model, config=config)
    kernel = NUTS(model, max_tree_depth=4)
    mcmc = MCMC(kernel, num_warmup=50, num_samples=20, progress_bar=False)
    mcmc.run(KEY, flow, points(3, 2, seed=3), extra_fields=("accept_prob",))
    z = mcmc.get_samples()["z"]
    assert z.shape == (20, 3, 2)
    assert len(jnp.unique(z[:, 0, 0])) > 15
    assert float(mcmc.get_extra_fields()["accept_prob"].mean()) > 0.5
