"""Path gradients of guides, in NumPyro's own ELBOs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from numpyro import infer

import numpyro_flowkit as fk
from numpyro_flowkit.distributions import base_log_prob
from tests.numpyro import models
from tests.numpyro import normal_guides as normal
from tests.numpyro.helpers import assert_same_gradients
from tests.numpyro.models import FLOW, GUIDES, SMALL, call, large

# Most of it is compilation; the Pyro twin of this file makes the same claims in `make test`.
pytestmark = pytest.mark.slow

every_guide = pytest.mark.parametrize("name", GUIDES)
KEY = jax.random.key(4)
ELBOS = {
    "Trace_ELBO of one particle": infer.Trace_ELBO,
    "Trace_ELBO": lambda: infer.Trace_ELBO(num_particles=3),
    "Trace_ELBO, one by one": lambda: infer.Trace_ELBO(3, vectorize_particles=False),
    "TraceMeanField_ELBO": lambda: infer.TraceMeanField_ELBO(num_particles=3),
    "TraceGraph_ELBO": lambda: infer.TraceGraph_ELBO(num_particles=3),
    "RenyiELBO of one particle": lambda: infer.RenyiELBO(alpha=0.5, num_particles=1),
}


def bent(name, model=models.hierarchy):
    """A guide with weights that are not the first ones; all but those of the frame."""
    guide = GUIDES[name](model, init_scale=0.8, **SMALL)
    flow = call(guide)[2][FLOW]
    moved = [jax.tree.map(lambda a, b: a + 0.3 * b, f, large(f)) for f in flow.layers[:2]]
    return guide, {FLOW: type(flow)((*moved, flow.layers[2]))}


def loss_and_gradient(elbo, guide, params, model=models.hierarchy):
    return jax.jit(jax.value_and_grad(lambda p: elbo.loss(KEY, p, model, guide)))(params)


def by_definition(self, value, intermediates):
    """Log-density by the inverse, with nothing trainable in it."""
    fixed = lax.stop_gradient(self)
    z, log_det = fixed.flow.inverse_and_log_det(value)
    return base_log_prob(fixed._base, z) + log_det


def assert_in_effect(elbo, guide, params, monkeypatch):
    loss, got = loss_and_gradient(elbo, guide, params)
    guide.path_gradient = False
    total_loss, total = loss_and_gradient(elbo, guide, params)
    with monkeypatch.context() as patch:
        patch.setattr(fk.FlowDistribution, "_log_prob", by_definition)
        _, expected = loss_and_gradient(elbo, guide, params)
    assert_same_gradients(got, expected, tolerance=1e-8)
    affine, affine_in_total = got[FLOW].layers[1], total[FLOW].layers[1]
    assert jnp.abs(affine.log_diagonal - affine_in_total.log_diagonal).max() > 1e-3
    assert loss == pytest.approx(float(total_loss), rel=1e-10)


@pytest.mark.parametrize("elbo", ELBOS)
def test_path_gradients_are_in_effect_in_every_elbo(elbo, monkeypatch):
    assert_in_effect(ELBOS[elbo](), *bent("realnvp"), monkeypatch)


@pytest.mark.parametrize("name", ["maf", "iaf"])
def test_path_gradients_are_in_effect_with_sequential_flows(name, monkeypatch):
    assert_in_effect(infer.Trace_ELBO(num_particles=3), *bent(name), monkeypatch)


def test_path_gradients_can_be_switched_between_steps():
    guide, params = bent("realnvp")
    elbo = infer.Trace_ELBO()
    _, on = loss_and_gradient(elbo, guide, params)
    guide.path_gradient = False
    _, off = loss_and_gradient(elbo, guide, params)
    guide.path_gradient = True
    _, again = loss_and_gradient(elbo, guide, params)
    difference = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), on, off)
    assert max(jax.tree.leaves(difference)) > 1e-3
    assert_same_gradients(again, on, tolerance=0)


def test_training_goes_on_after_the_switch():
    guide = normal.AutoRealNVP(models.hierarchy, path_gradient=False, **SMALL)
    svi = infer.SVI(models.hierarchy, guide, optax.adam(0.02), infer.Trace_ELBO(num_particles=4))
    first = svi.run(KEY, 40, progress_bar=False)
    guide.path_gradient = True
    second = svi.run(KEY, 40, progress_bar=False, init_state=first.state)
    losses = np.concatenate([first.losses, second.losses])
    assert np.isfinite(losses).all()
    assert losses[-20:].mean() < losses[:20].mean()
