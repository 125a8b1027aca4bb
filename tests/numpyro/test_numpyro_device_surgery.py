"""ELBO surgery, and flows of images, on an accelerator."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import numpyro_flowkit as fk
from tests.numpyro.helpers import large, points

pytestmark = pytest.mark.gpu

NUM, DIM = 300, 3
FLOWS = {
    "realnvp_image": lambda: fk.realnvp_image((2, 4, 4), num_scales=2, hidden_channels=6),
    "glow": lambda: fk.glow((2, 4, 4), num_scales=1, num_steps=2, hidden_channels=6, started=True),
    "planar": lambda: fk.planar(4, num_layers=3),
    "sylvester": lambda: fk.sylvester(4, num_layers=2, rank=3),
    "low_rank": lambda: fk.low_rank_linear(4, rank=2),
}


def posterior(kind, loc, scale):
    if kind == "full":
        return dist.MultivariateNormal(loc, scale_tril=scale[..., None] * jnp.eye(DIM))
    if kind == "generic":
        return dist.StudentT(5.0, loc, scale).to_event(1)
    return dist.Normal(loc, scale).to_event(1)


def on_both(function):
    """What a function gives on the CPU, and on the accelerator."""
    with jax.default_device(jax.devices("cpu")[0]):
        reference = jax.device_get(function())
    return jax.device_get(function()), reference


@pytest.mark.parametrize("scale", [1.0, 1e-7], ids=["wide", "narrow"])
@pytest.mark.parametrize("kind", ["diagonal", "full", "generic"])
def test_the_aggregated_density_and_its_gradient_agree_with_the_cpu(kind, scale):
    def run():
        loc, sd = points(NUM, DIM), scale * (abs(points(NUM, DIM, seed=2)) + 0.1)
        z = loc + sd * points(NUM, DIM, seed=3)
        args = tuple(map(jnp.asarray, (loc, sd, z)))

        def mean(loc, sd, z):
            return fk.aggregate_log_prob(posterior(kind, loc, sd), z).mean()

        return jax.value_and_grad(mean, argnums=(0, 1, 2))(*args)

    for got, reference in zip(*map(jax.tree.leaves, on_both(run)), strict=True):
        np.testing.assert_allclose(got, reference, rtol=1e-5, atol=1e-5 * abs(reference).max())


def test_a_surgery_runs_on_the_accelerator():
    loc = jnp.asarray(points(NUM, DIM))
    prior = dist.Normal(jnp.zeros(DIM), 1.0).to_event(1)
    found = fk.elbo_surgery(
        posterior("diagonal", loc, jnp.ones_like(loc)), prior, rng_key=jax.random.key(0)
    )
    identity = found.mutual_information.value + found.marginal_kl.value
    assert found.avg_kl.value == pytest.approx(identity, abs=1e-9)


@pytest.mark.parametrize("name", FLOWS)
def test_both_directions_agree_with_the_cpu(name):
    def run():
        flow = large(FLOWS[name]())
        z = jnp.asarray(points(16, *flow.event_shape))
        return jax.jit(lambda f, a: (f.forward_and_log_det(a), f.inverse_and_log_det(a)))(flow, z)

    for got, reference in zip(*map(jax.tree.leaves, on_both(run)), strict=True):
        np.testing.assert_allclose(got, reference, rtol=1e-8, atol=1e-8)
