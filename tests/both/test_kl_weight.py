"""A weight on the KL: what it makes of the ELBO, and its warm-up."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.infer
import pyro
import pyro.infer
import pytest
import torch

from tests.surgery import DISTRIBUTIONS, PACKAGES, array, every_wing

X = [[1.0, -0.5], [0.3, 0.2]]


def pair(wing):
    ppl, dist = {"pyro": pyro, "numpyro": numpyro}[wing], DISTRIBUTIONS[wing]

    def model(x):
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", dist.Normal(array(wing, np.zeros(2)), 1.0).to_event(1))
            ppl.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with ppl.plate("data", len(x)):
            ppl.sample("z", dist.Normal(x / 3, 1e-6).to_event(1))  # as good as known

    return model, guide


def loss(wing, weight, latents=None):
    """Minus the ELBO of one draw with its KL weighted."""
    weigh = PACKAGES[wing].kl_weight
    model, guide = (weigh(function, weight, latents) for function in pair(wing))
    x = array(wing, X)
    if wing == "pyro":
        pyro.set_rng_seed(0)
        return pyro.infer.Trace_ELBO().loss(model, guide, x)
    return float(numpyro.infer.Trace_ELBO().loss(jax.random.key(0), {}, model, guide, x))


@every_wing
def test_the_elbo_is_the_likelihood_minus_the_weighted_kl(wing):
    whole, none, half = (loss(wing, weight) for weight in (1.0, 0.0, 0.5))
    x = np.array(X)
    likelihood = -0.5 * ((x - x / 3) ** 2).sum() - 2 * np.log(2 * np.pi)
    assert none == pytest.approx(-likelihood, abs=1e-4)
    assert half == pytest.approx((whole + none) / 2, rel=1e-9)
    assert whole - none > 10  # the KL of so narrow a guide
    # For other sites than these nothing changes.
    assert loss(wing, 0.0, ["w"]) == pytest.approx(whole, rel=1e-12)
    assert loss(wing, 0.0, ["z", "w"]) == pytest.approx(none, rel=1e-12)


@every_wing
def test_weights_and_the_scales_of_plates_multiply(wing):
    ppl, dist = {"pyro": pyro, "numpyro": numpyro}[wing], DISTRIBUTIONS[wing]
    handlers = pyro.poutine if wing == "pyro" else numpyro.handlers

    def model():
        with ppl.plate("data", 10, subsample_size=2):
            ppl.sample("z", dist.Normal(0.0, 1.0))
            ppl.sample("x", dist.Normal(0.0, 1.0), obs=array(wing, np.zeros(2)))

    weighted = PACKAGES[wing].kl_weight(model, 0.5)
    if wing == "numpyro":
        weighted = handlers.seed(weighted, 0)
    trace = handlers.trace(weighted).get_trace()
    nodes = trace.nodes if wing == "pyro" else trace
    assert (float(nodes["z"]["scale"]), float(nodes["x"]["scale"])) == (2.5, 5.0)


def test_numpyros_weight_may_be_traced():
    def weighted(function):
        return lambda x, weight: numpyro_weight(function, weight)(x)

    model, guide = map(weighted, pair("numpyro"))
    numpyro_loss = numpyro.infer.Trace_ELBO().loss

    @jax.jit
    def of(weight):
        return numpyro_loss(jax.random.key(0), {}, model, guide, array("numpyro", X), weight)

    assert float(of(0.5)) == pytest.approx(loss("numpyro", 0.5), rel=1e-9)


def numpyro_weight(function, weight):
    return PACKAGES["numpyro"].kl_weight(function, weight)


@every_wing
def test_wrong_arguments_are_refused(wing):
    weigh = PACKAGES[wing].kl_weight
    with pytest.raises(TypeError, match="function: expected a model or a guide, got int"):
        weigh(3, 0.5)
    with pytest.raises(TypeError, match="latents: expected a sequence, got 'z'"):
        weigh(lambda: None, 0.5, "z")
    with pytest.raises(TypeError, match="latents: expected a str, got int"):
        weigh(lambda: None, 0.5, [1])


@every_wing
def test_warm_up_rises_to_one(wing):
    warm_up = PACKAGES[wing].kl_warmup
    assert [warm_up(step, 10, start=0.5) for step in (0, 5, 10, 99)] == [0.5, 0.75, 1.0, 1.0]
    traced = jax.jit(lambda step: warm_up(step, 10))(jnp.array([0, 5, 20]))
    np.testing.assert_allclose(traced, [0, 0.5, 1])
    found = warm_up(torch.tensor([0.0, 5.0, 20.0]), 10)
    np.testing.assert_allclose(found, [0, 0.5, 1])
    with pytest.raises(ValueError, match="num_steps: expected an integer >= 1"):
        warm_up(1, 0)
    with pytest.raises(ValueError, match="start: expected a number from 0 to 1, got 2"):
        warm_up(1, 10, start=2)
    with pytest.raises(ValueError, match="start: expected a finite number > 0"):
        warm_up(1, 10, start=-0.5)
