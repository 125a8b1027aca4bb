"""Sampling and then scoring the sample costs one evaluation of each network."""

import jax
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro.infer import SVI, Trace_ELBO

import numpyro_flowkit as fk
from tests.numpyro.helpers import (
    TRANSFORMS,
    large,
    layer,
    multiplications,
    network_calls,
    num_networks,
    points,
    standard_normal,
)

pytestmark = pytest.mark.usefixtures("xla_sweeps")

every_transform = pytest.mark.parametrize("name", TRANSFORMS)
KEY = jax.random.key(0)


def draw_and_score(density, key):
    x, kept = density.sample_with_intermediates(key, (5,))
    return density.log_prob(x, kept)


@every_transform
def test_scoring_a_draw_costs_no_further_call(name, monkeypatch):
    transform = TRANSFORMS[name]()
    density = fk.FlowDistribution(transform)
    with network_calls(monkeypatch) as calls:
        jax.make_jaxpr(draw_and_score)(density, KEY)
    assert calls.count == num_networks(transform) > 0
    z = points(5, 4)
    sampling = multiplications(lambda z: transform.forward_and_log_det(z), z)
    assert multiplications(draw_and_score, density, KEY) == sampling > 0


@every_transform
def test_the_same_under_numpyros_distribution(name):
    transform = TRANSFORMS[name]()
    density = dist.TransformedDistribution(standard_normal(4), [transform])
    sampling = multiplications(lambda z: transform.forward_and_log_det(z), points(5, 4))
    assert multiplications(draw_and_score, density, KEY) == sampling
    wide = density.expand((3,))
    sampling = multiplications(lambda z: transform.forward_and_log_det(z), points(5, 3, 4))
    assert multiplications(draw_and_score, wide, KEY) == sampling


@every_transform
def test_scoring_data_costs_one_call(name, monkeypatch):
    transform = TRANSFORMS[name]()
    density = fk.FlowDistribution(transform)
    with network_calls(monkeypatch) as calls:
        jax.make_jaxpr(density.log_prob)(points(5, 4))
    assert calls.count == num_networks(transform)


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
def test_log_det_of_a_foreign_pair_takes_the_one_pass_direction(recipe):
    flow, z = layer(recipe, 4), points(5, 4)
    one_pass = flow.inverse_and_log_det if flow.sequential_forward else flow.forward_and_log_det
    expected = multiplications(one_pass, z)
    assert multiplications(flow.log_abs_det_jacobian, z, points(5, 4, seed=2)) == expected


def model():
    numpyro.sample("x", standard_normal(4))


@every_transform
@pytest.mark.parametrize("particles", [1, 3])
def test_an_elbo_costs_one_call(name, particles, monkeypatch):
    transform = TRANSFORMS[name]()

    def guide():
        value = numpyro.param("transform", lambda key: transform)
        numpyro.sample("x", fk.FlowDistribution(value))

    svi = SVI(model, guide, optax.adam(0.01), Trace_ELBO(num_particles=particles))
    state = svi.init(KEY)
    with network_calls(monkeypatch) as calls:
        jax.make_jaxpr(svi.evaluate)(state)
    assert calls.count == num_networks(transform)
    sampling = multiplications(lambda z: transform.forward_and_log_det(z), points(particles, 4))
    assert multiplications(svi.evaluate, state) == sampling


@pytest.mark.parametrize("recipe", [fk.maf, fk.iaf])
@pytest.mark.parametrize("input_dim", [8, 64])
def test_the_sequential_direction_does_about_the_arithmetic_of_one_pass(recipe, input_dim):
    flow = large(recipe(input_dim, num_layers=1, hidden_dims=(128, 128)))
    z = points(5, input_dim)
    sequential = flow.forward_and_log_det if flow.sequential_forward else flow.inverse_and_log_det
    masks = flow.layers[0].conditioner.spec.masks
    dense_pass = 2 * len(z) * sum(mask.size for mask in masks)
    # Steps are padded to a common width, hence a third more; the plain loop needs D passes.
    assert 0 < multiplications(sequential, z) < 1.4 * dense_pass


def test_sampling_a_maf_of_64_coordinates_never_calls_the_whole_network(monkeypatch):
    flow = layer(fk.maf, 64)
    whole = []
    monkeypatch.setattr(type(flow.conditioner), "__call__", lambda *args: whole.append(1))
    with network_calls(monkeypatch) as calls:
        jax.make_jaxpr(flow)(points(3, 64))
    assert calls.count == 1
    assert whole == []
