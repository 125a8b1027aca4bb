"""Networks of other packages and of a user's own as conditioners, and priors on weights."""

import copy
import functools
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from jax.tree_util import Partial
from numpyro import handlers
from numpyro.contrib.module import eqx_module
from numpyro.infer import MCMC, NUTS, SVI, Trace_ELBO

import numpyro_flowkit as fk
from flowkit_core import recipes
from flowkit_core.specs import DiagonalAffineSpec
from numpyro_flowkit.conditioners.foreign import as_conditioner
from numpyro_flowkit.laws import Affine
from numpyro_flowkit.transforms import Coupling, DiagonalAffine
from tests.numpyro.helpers import points

KEY = jax.random.key(0)
MASK = (True, False, False)
ROWS = points(40, 3) * jnp.array([1.0, 0.5, 2.0]) + 1.0


def dense(weights, inputs, context=None):
    """One hidden layer from 1 number to 2 laws of 2 parameters."""
    return jnp.tanh(inputs @ weights["in"]) @ weights["out"]


def bend(values):
    """An activation at module level, so that it can be pickled; JAX's own cannot."""
    return jnp.tanh(values)


class WithActivation(eqx.Module):
    """An Equinox network that holds its activation as a leaf, as Equinox's own do."""

    weight_in: jax.Array
    weight_out: jax.Array
    activation: object

    def __call__(self, inputs, context=None):
        return self.activation(inputs @ self.weight_in) @ self.weight_out


def weights():
    return {"in": 0.3 * points(1, 6, seed=1), "out": 0.3 * points(6, 4, seed=2)}


NETWORKS = {
    "a Partial": lambda: Partial(dense, weights()),
    "a functools.partial": lambda: functools.partial(dense, weights()),
    "an Equinox module": lambda: WithActivation(weights()["in"], weights()["out"], bend),
}
every_network = pytest.mark.parametrize("kind", NETWORKS)


def coupling(kind):
    return Coupling(MASK, NETWORKS[kind](), Affine())


@every_network
def test_its_arrays_are_the_leaves_of_the_layer(kind):
    shapes = sorted(jnp.shape(leaf) for leaf in jax.tree.leaves(coupling(kind)))
    assert shapes == [(1, 2), (1, 6), (6, 4)]


@every_network
def test_it_computes_what_it_computes_alone(kind):
    x, log_det = jax.jit(lambda flow, z: flow.forward_and_log_det(z))(coupling(kind), ROWS)
    shift, raw = jnp.split(dense(weights(), ROWS[:, :1]), 2, axis=-1)
    scale = 2 * jnp.tanh(raw / 2)
    np.testing.assert_allclose(x[:, 1:], ROWS[:, 1:] * jnp.exp(scale) + shift, rtol=1e-12)
    np.testing.assert_allclose(log_det, scale.sum(-1), rtol=1e-12, atol=1e-14)


@every_network
def test_two_layers_share_one_trace(kind):
    traces = []

    @jax.jit
    def evaluate(flow):
        traces.append(1)
        return flow(ROWS[0])

    first = coupling(kind)
    second = jax.tree.map(lambda leaf: leaf + 0.1, first)
    assert not np.allclose(evaluate(first), evaluate(second))
    assert len(traces) == 1


@every_network
def test_copies_compute_the_same(kind):
    flow = coupling(kind)
    for twin in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        np.testing.assert_array_equal(twin(ROWS), flow(ROWS))


def test_a_pytree_of_arrays_passes_as_it_is():
    network = Partial(dense, weights())
    assert as_conditioner(network) is network


def density_model(make_network):
    def model(rows):
        network = make_network()
        layer = numpyro.param("layer", lambda key: fk.lu_linear(3)(key))
        flow = fk.compose(Coupling(MASK, network, Affine()), layer)
        with numpyro.plate("rows", len(rows)):
            numpyro.sample("x", fk.FlowDistribution(flow), obs=rows)

    return model


def of_equinox():
    return eqx_module("net", NETWORKS["an Equinox module"]())


def of_a_partial():
    # What numpyro.contrib.module.flax_module returns: its function with the parameters bound.
    return functools.partial(dense, numpyro.param("net$params", lambda key: weights()))


@pytest.mark.parametrize("make_network", [of_equinox, of_a_partial])
def test_svi_trains_a_network_that_was_registered_with_numpyro(make_network):
    svi = SVI(density_model(make_network), lambda rows: None, optax.adam(0.02), Trace_ELBO())
    start = svi.init(KEY, ROWS)
    before = svi.get_params(start)["net$params"]
    result = svi.run(KEY, 200, ROWS, progress_bar=False, init_state=start)
    assert result.losses[-1] < result.losses[0] - 20
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), before, result.params["net$params"])
    assert all(change > 1e-3 for change in jax.tree.leaves(moved))


def with_priors(rows):
    """The weights of a flow are latent variables."""
    spec = recipes.compose(recipes.realnvp(2, num_layers=2, hidden_dims=(2,)), recipes.lu_linear(2))
    arrays = {
        array.name: numpyro.sample(
            array.name, dist.Normal(jnp.zeros(array.shape), 0.3).to_event(len(array.shape))
        )
        for array in spec.arrays()
    }
    with numpyro.plate("rows", len(rows)):
        numpyro.sample("x", fk.FlowDistribution(fk.build(spec, arrays)), obs=rows)


@pytest.mark.slow
def test_weights_may_carry_priors():
    rows = ROWS[:, :2]
    trace = handlers.trace(handlers.seed(with_priors, KEY)).get_trace(rows)
    assert len(trace) > 10
    mcmc = MCMC(
        NUTS(with_priors, max_tree_depth=4), num_warmup=60, num_samples=20, progress_bar=False
    )
    mcmc.run(KEY, rows)
    draws = mcmc.get_samples()
    assert all(np.isfinite(values).all() for values in draws.values())
    assert all((np.ptp(values, axis=0) > 0).any() for values in draws.values())


def test_a_diagonal_layer_with_a_latent_shift_finds_its_posterior():
    def model(rows):
        shift = numpyro.sample("shift", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        arrays = {"log_scale": jnp.zeros(2), "shift": shift}
        flow = DiagonalAffine(DiagonalAffineSpec(2), arrays)
        with numpyro.plate("rows", len(rows)):
            numpyro.sample("x", fk.FlowDistribution(flow), obs=rows)

    rows = points(20, 2, seed=4) + 2.0
    mcmc = MCMC(NUTS(model), num_warmup=100, num_samples=400, progress_bar=False)
    mcmc.run(KEY, rows)
    draws = mcmc.get_samples()["shift"]
    # Normal prior and Normal likelihood of known scale; at least 100 effective draws of 400.
    sd = (1 / 21) ** 0.5
    np.testing.assert_allclose(draws.mean(0), rows.sum(0) / 21, atol=5 * sd / 10)
    np.testing.assert_allclose(draws.std(0), sd, rtol=5 / 200**0.5)
