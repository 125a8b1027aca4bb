"""Flows with a context: conditioning, broadcasting, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from numpyro.infer import SVI, Trace_ELBO

import numpyro_flowkit as fk
from tests.numpyro.helpers import (
    RECIPES,
    assert_close,
    call,
    conditional_compose,
    forward,
    inverse,
    large,
    log_prob,
    network_calls,
    points,
    standard_normal,
)

FLOWS = {
    "iaf": lambda: RECIPES["iaf"](4, context_dim=2),
    "realnvp": lambda: RECIPES["realnvp"](4, context_dim=2),
    "compose": lambda: conditional_compose(2),  # begins with a MAF
}
every_flow = pytest.mark.parametrize("name", FLOWS)
KEY = jax.random.key(6)


def make(name):
    return large(FLOWS[name]())


@jax.jit
def draws(density):
    return density.sample(KEY, (7,))


@every_flow
def test_a_conditioned_flow_is_the_flow_with_its_context(name):
    flow = make(name)
    z, context = points(5, 4), points(5, 2, seed=3)
    transform = flow.condition(context)
    expected = forward(flow, z, context)
    assert_close(forward(transform, z), expected)
    assert_close(inverse(transform, expected[0])[0], z, 1e-8, 1e-8)


def test_a_conditioned_flow_pushes_the_score_of_its_context():
    flow, z, context = make("realnvp"), points(5, 4), points(5, 2, seed=3)
    pushed = call("forward_and_score", flow.condition(context), z, -z)
    assert_close(pushed, call("forward_and_score", flow, z, -z, context))


@every_flow
def test_the_context_matters(name):
    flow, z = make(name), points(4)
    one, two = (forward(flow.condition(points(2, seed=s)), z)[0] for s in (3, 4))
    assert float(jnp.abs(one - two).max()) > 1e-2


@every_flow
def test_weights_and_context_are_its_leaves(name):
    flow, context = make(name), points(2)
    leaves = jax.tree.leaves(flow.condition(context))
    assert len(leaves) == len(jax.tree.leaves(flow)) + 1
    assert leaves[-1] is context


@every_flow
def test_conditioning_runs_no_network(name, monkeypatch):
    flow = make(name)
    with network_calls(monkeypatch) as calls:
        fk.FlowDistribution(flow, context=points(10, 2)).expand((3, 10))
    assert calls.count == 0


@every_flow
def test_batch_shape_is_that_of_the_context(name):
    transform = make(name).condition(points(10, 2))
    assert transform.forward_shape((4,)) == transform.inverse_shape((4,)) == (10, 4)
    assert transform.forward_shape((3, 1, 4)) == (3, 10, 4)
    density = fk.FlowDistribution(transform)
    assert fk.FlowDistribution(transform.flow, context=transform.context).flow == density.flow
    assert (density.batch_shape, density.event_shape) == ((10,), (4,))
    x = draws(density)
    assert x.shape == (7, 10, 4)
    assert log_prob(density, x).shape == (7, 10)


def test_numpyros_distribution_of_a_conditioned_flow_is_ours():
    transform = make("realnvp").condition(points(10, 2))
    ours = fk.FlowDistribution(transform)
    theirs = dist.TransformedDistribution(standard_normal(4), [transform])
    assert (theirs.batch_shape, theirs.event_shape) == ((10,), (4,))
    x = draws(ours)
    assert_close(draws(theirs), x)
    assert_close(log_prob(theirs, x), log_prob(ours, x))


def test_draws_of_a_context_batch_are_independent():
    context = jnp.broadcast_to(points(2), (10, 2))
    x = np.asarray(draws(fk.FlowDistribution(make("realnvp"), context=context))).reshape(-1, 4)
    assert len(np.unique(x.round(9), axis=0)) == 70


@every_flow
def test_pairwise_scores_equal_the_scores_of_each_pair(name):
    flow = make(name)
    x, contexts = points(3, 1, 4), points(5, 2, seed=3)
    pairwise = log_prob(fk.FlowDistribution(flow, context=contexts), x)
    assert pairwise.shape == (3, 5)
    for j in range(5):
        one = fk.FlowDistribution(flow, context=contexts[j])
        assert_close(pairwise[:, j], log_prob(one, x[:, 0]))


@every_flow
def test_inverse_broadcasts_like_forward(name):
    flow = make(name)
    x, contexts = points(3, 1, 4), points(5, 2, seed=3)
    z, log_det = inverse(flow, x, contexts)
    assert (z.shape, log_det.shape) == ((3, 5, 4), (3, 5))
    back, opposite = forward(flow, z, contexts)
    assert_close(back, jnp.broadcast_to(x, (3, 5, 4)), 1e-8, 1e-8)
    assert_close(opposite, -log_det, 1e-8, 1e-8)


@every_flow
def test_gradients_reach_the_context(name):
    flow, x, context = make(name), points(3, 4), points(3, 2, seed=3)

    @jax.jit
    def loss(context):
        return fk.FlowDistribution(flow, context=context).log_prob(x).sum()

    gradient = jax.jit(jax.grad(loss))(context)
    direction = points(3, 2, seed=9)
    step = 1e-6
    slope = (loss(context + step * direction) - loss(context - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, (gradient * direction).sum(), rtol=1e-5)
    assert float(jnp.abs(gradient).min()) > 0


@pytest.mark.parametrize(("name", "subsample"), [("iaf", None), ("realnvp", 5)])
def test_an_amortised_guide_trains_under_a_plate(name, subsample):
    data = points(20, 3) @ jnp.diag(jnp.array([1.0, 3.0, 0.5])) + 1

    def rows():
        return numpyro.plate("rows", len(data), subsample_size=subsample)

    def model():
        with rows() as index:
            z = numpyro.sample("z", standard_normal(4))
            numpyro.sample("x", dist.Normal(z[..., :3], 0.5).to_event(1), obs=data[index])

    def guide():
        flow = numpyro.param("flow", FLOWS[name]())
        encoder = numpyro.param("encoder$params", 0.1 * jnp.ones((3, 2)))
        with rows() as index:
            numpyro.sample("z", fk.FlowDistribution(flow, context=data[index] @ encoder))

    svi = SVI(model, guide, optax.adam(0.02), Trace_ELBO(num_particles=3))
    result = svi.run(KEY, 60, progress_bar=False)
    assert float(result.losses[-10:].mean()) < 0.8 * float(result.losses[:10].mean())
    assert float(jnp.abs(result.params["encoder$params"] - 0.1).min()) > 1e-3
