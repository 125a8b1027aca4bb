"""Surgery read off a model and its guide, in both wings."""

import math

import jax
import numpy as np
import numpyro
import pyro
import pytest
import torch

from tests.surgery import (
    DISTRIBUTIONS,
    PACKAGES,
    SURGERY,
    array,
    call,
    every_wing,
    numbers,
    randomness,
    standard_normal,
)

PPL = {"pyro": pyro, "numpyro": numpyro}
SLOPE = 0.6


def of_model(wing, model, guide, data, *, seed=0, params=None, **keywords):
    args = (data,) if wing == "pyro" else (params or {}, data)
    return SURGERY[wing].elbo_surgery_of(model, guide, *args, **randomness(wing, seed), **keywords)


def linear_model(wing, *, prior_scale=1.0, extra=None, pixels=False, scale=None, obs=True):
    """``z ~ N(0, I)``, ``x ~ N(z, 1)``."""
    ppl, dist = PPL[wing], DISTRIBUTIONS[wing]

    def model(x):
        zero = array(wing, np.zeros(2))
        data = ppl.plate("data", len(x), dim=-1)
        with data:
            z = ppl.sample("z", dist.Normal(zero, prior_scale).to_event(1))
            if extra:
                ppl.sample(extra, dist.Normal(zero, 1.0).to_event(1))
            if pixels:
                with ppl.plate("pixels", 2, dim=-2):
                    ppl.sample("x", dist.Normal(z.T, 1.0), obs=x.T)
            elif scale is not None:
                handlers = pyro.poutine if wing == "pyro" else numpyro.handlers
                with handlers.scale(scale=scale):
                    ppl.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
            else:
                ppl.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x if obs else None)

    return model


def linear_guide(wing, *, latent="z", extra=None):
    ppl, dist = PPL[wing], DISTRIBUTIONS[wing]

    def guide(x):
        with ppl.plate("data", len(x), dim=-1):
            ppl.sample(latent, dist.Normal(SLOPE * x, 0.5).to_event(1))
            if extra:
                ppl.sample(extra, dist.Normal(x, 1.0).to_event(1))

    return guide


@pytest.fixture
def data(rng):
    return rng.normal(size=(40, 2)) * 1.4


@every_wing
@pytest.mark.parametrize("options", [{}, {"pixels": True}, {"scale": 7.0}], ids=str)
def test_sites_give_what_the_parts_give_by_hand(wing, options, data):
    found = of_model(wing, linear_model(wing, **options), linear_guide(wing), array(wing, data),
                     batch_size=16, num_samples=500)  # fmt: skip
    # E log p(x | z) = -log 2 pi - (|x - m|^2 + tr S) / 2 for two coordinates.
    errors = ((data - SLOPE * data) ** 2).sum(1) + 2 * 0.25
    exact = (-math.log(2 * math.pi) - 0.5 * errors).mean()
    assert found.reconstruction.within(exact, 4)
    kl = 0.5 * (2 * 0.25 + (SLOPE * data) ** 2 @ np.ones(2) - 2 - 2 * math.log(0.25)).mean()
    assert found.avg_kl.within(kl, 4)
    assert (found.num_data, found.num_samples, found.dim) == (40, 500, 2)
    posterior = DISTRIBUTIONS[wing].Normal(array(wing, SLOPE * data), 0.5).to_event(1)
    other = call(wing, "elbo_surgery", posterior, standard_normal(wing, 2), num_samples=500)
    spread = 4 * math.hypot(found.marginal_kl.stderr, other.marginal_kl.stderr)
    assert abs(found.marginal_kl.value - other.marginal_kl.value) < spread
    np.testing.assert_allclose(found.means, SLOPE * data, atol=1e-12)


@every_wing
def test_data_may_come_in_batches_and_as_several_arguments(wing, data):
    ppl, dist = PPL[wing], DISTRIBUTIONS[wing]

    def model(x, y):
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", dist.Normal(array(wing, np.zeros(2)), 1.0).to_event(1))
            ppl.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)
            ppl.sample("y", dist.Normal(z.sum(-1), 1.0), obs=y)

    def guide(x, y):
        with ppl.plate("data", len(x)):
            ppl.sample("z", dist.Normal(SLOPE * x, 0.5).to_event(1))

    pair = array(wing, data), array(wing, data.sum(1))
    whole = of_model(wing, model, guide, pair, method="bounds", num_others=5)
    batches = [tuple(part[rows] for part in pair) for rows in (slice(0, 30), slice(30, 40))]
    parts = of_model(wing, model, guide, (batch for batch in batches))
    assert whole.num_data == parts.num_data == 40
    assert abs(whole.reconstruction.value - parts.reconstruction.value) < 1.0
    with pytest.raises(ValueError, match="one length, got \\[40, 3\\]"):
        of_model(wing, model, guide, (pair[0], pair[1][:3]))


@every_wing
def test_a_masked_row_counts_for_nothing_in_the_likelihood(wing, data):
    ppl, dist = PPL[wing], DISTRIBUTIONS[wing]
    mask = np.arange(40) % 2 == 0

    def model(x, mask):
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", dist.Normal(array(wing, np.zeros(2)), 1.0).to_event(1))
            ppl.sample("x", dist.Normal(z, 1.0).to_event(1).mask(mask), obs=x)

    def guide(x, mask):
        with ppl.plate("data", len(x)):
            ppl.sample("z", dist.Normal(SLOPE * x, 0.5).to_event(1))

    flags = array(wing, mask, "bool")
    found = of_model(wing, model, guide, (array(wing, data), flags), num_samples=400)
    errors = ((data - SLOPE * data) ** 2).sum(1) + 2 * 0.25
    exact = ((-math.log(2 * math.pi) - 0.5 * errors) * mask).mean()
    assert found.reconstruction.within(exact, 4)


@every_wing
def test_a_flow_in_prior_and_posterior(wing, data, rng):
    ppl, dist, package = PPL[wing], DISTRIBUTIONS[wing], PACKAGES[wing]
    prior_flow = package.maf(2, num_layers=2, hidden_dims=(8,))
    flow = package.iaf(2, num_layers=2, hidden_dims=(8,), context_dim=2)
    if wing == "numpyro":
        prior_flow, flow = prior_flow(jax.random.key(0)), flow(jax.random.key(1))
    else:
        prior_flow, flow = prior_flow.double(), flow.double()

    def model(x):
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", package.FlowDistribution(prior_flow))
            ppl.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with ppl.plate("data", len(x)):
            base = dist.Normal(SLOPE * x, 0.5).to_event(1)
            ppl.sample("z", package.FlowDistribution(flow, base, context=x))

    found = of_model(wing, model, guide, array(wing, data), num_samples=200)
    # Flows are the identity when they are new.
    kl = 0.5 * (2 * 0.25 + (SLOPE * data) ** 2 @ np.ones(2) - 2 - 2 * math.log(0.25)).mean()
    assert found.avg_kl.within(kl, 4)
    assert found.avg_kl.value == pytest.approx(
        found.mutual_information.value + found.marginal_kl.value, abs=1e-9
    )


def test_trained_parameters_are_used_in_numpyro(data):
    def model(x):
        numpyro.param("unused", 0.0)
        linear_model("numpyro")(x)

    def guide(x):
        slope = numpyro.param("slope", 0.0)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", DISTRIBUTIONS["numpyro"].Normal(slope * x, 0.5).to_event(1))

    found = of_model("numpyro", model, guide, array("numpyro", data), params={"slope": 0.25})
    np.testing.assert_allclose(found.means, 0.25 * data, atol=1e-12)


def test_a_module_is_left_in_its_mode_and_without_gradients_in_pyro(data):
    encoder = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.0)).double()

    def guide(x):
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            pyro.sample("z", DISTRIBUTIONS["pyro"].Normal(encoder(x), 0.5).to_event(1))

    found = of_model("pyro", linear_model("pyro"), guide, torch.from_numpy(data))
    np.testing.assert_allclose(found.means, numbers(encoder(torch.from_numpy(data))), atol=1e-12)
    assert encoder.training
    assert all(parameter.grad is None for parameter in encoder.parameters())


REFUSALS = {
    "no such site": ({"latent": "w"}, {}, {}, "latent site of the guide, got 'w'; it has 'z'"),
    "another name in the guide": ({}, {}, {"latent": "w"}, "latent site of the guide, got 'z'"),
    "more in the model": ({}, {"extra": "w"}, {}, "model: expected no other latents.*got 'w'"),
    "more in both": ({}, {"extra": "w"}, {"extra": "w"}, "guide: expected no other latents"),
    "nothing observed": ({}, {"obs": False}, {}, "model: expected no other latents than 'z'"),
    "no rows": ({"batch_size": 0}, {}, {}, "batch_size: expected an integer >= 1"),
}


@every_wing
@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_refused_by_name(wing, case, data):
    options, model, guide, message = REFUSALS[case]
    with pytest.raises(ValueError, match=message):
        of_model(wing, linear_model(wing, **model), linear_guide(wing, **guide), array(wing, data),
                 **options)  # fmt: skip


@every_wing
def test_sites_outside_of_the_plate_are_refused(wing, data):
    ppl, dist = PPL[wing], DISTRIBUTIONS[wing]
    x = array(wing, data)

    def without_plate(x):
        ppl.sample("z", dist.Normal(SLOPE * x, 0.5).to_event(1))

    with pytest.raises(ValueError, match="guide: expected 'z' in one plate"):
        of_model(wing, linear_model(wing), without_plate, x)

    def observed_outside(x):
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", dist.Normal(array(wing, np.zeros(2)), 1.0).to_event(1))
        ppl.sample("x", dist.Normal(z, 1.0).to_event(2), obs=x)

    with pytest.raises(ValueError, match="observed site 'x' in the plate of 'z'"):
        of_model(wing, observed_outside, linear_guide(wing), x)


@every_wing
@pytest.mark.parametrize(
    ("data", "error"), [(3.0, TypeError), ("images", TypeError), ([], ValueError)]
)
def test_data_that_cannot_be_taken_apart_are_refused(wing, data, error):
    with pytest.raises(error, match="data: expected"):
        of_model(wing, linear_model(wing), linear_guide(wing), data)
