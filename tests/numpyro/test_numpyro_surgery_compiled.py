"""Programs of a model and a guide: compiled once, and gone with them."""

import functools
import gc

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from numpyro_flowkit import elbo_surgery_of, importance_log_likelihood_of, kl_weight
from numpyro_flowkit.surgery import compiled as module

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)))
FUNCTIONS = {"surgery": elbo_surgery_of, "likelihood": importance_log_likelihood_of}


class Pair:
    """A model and its guide, which count how often they are traced."""

    def __init__(self):
        self.traces = 0

    def model(self, x):
        self.traces += 1
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
            numpyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        slope = numpyro.param("slope", 0.5)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(slope * x, 0.5).to_event(1))


def call(name, model, guide, x=X, *, slope=0.5, seed=0, count=2):
    number = {"surgery": "num_samples", "likelihood": "num_particles"}[name]
    params, key = {"slope": slope}, jax.random.key(seed)
    return FUNCTIONS[name](model, guide, params, x, rng_key=key, **{number: count})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_second_call_traces_nothing_and_uses_what_it_is_given(name):
    pair = Pair()
    found = [call(name, pair.model, pair.guide)]
    before = pair.traces
    assert before > 0
    found.append(call(name, pair.model, pair.guide))
    found.append(call(name, pair.model, pair.guide, slope=0.1))
    found.append(call(name, pair.model, pair.guide, X + 1))
    assert pair.traces == before
    assert found[0] == found[1]
    assert found[0] not in found[2:]
    call(name, pair.model, pair.guide, count=3)  # another program
    assert pair.traces > before


def test_other_models_have_programs_of_their_own():
    one, two = Pair(), Pair()
    call("surgery", one.model, one.guide)
    assert two.traces == 0
    call("surgery", two.model, one.guide)
    assert two.traces > 0
    weighted = kl_weight(one.model, 0.5)
    partial = functools.partial(one.model)
    for model in (weighted, partial):
        before = one.traces
        call("surgery", model, one.guide)
        assert one.traces > before
        before = one.traces
        call("surgery", model, one.guide)
        assert one.traces == before


@pytest.mark.parametrize("goes", ["model", "guide"])
def test_programs_go_with_the_model_or_the_guide(goes):
    gc.collect()
    before = len(module._programs)
    pair = {"model": Pair(), "guide": Pair()}
    module.compiled(call, pair["model"].model, pair["guide"].guide)
    assert len(module._programs) == before + 1
    del pair[goes]
    gc.collect()
    assert len(module._programs) == before


def test_a_program_that_has_run_goes_too():
    gc.collect()
    before = len(module._programs)
    pair = Pair()
    call("likelihood", pair.model, pair.guide)
    del pair
    gc.collect()
    assert len(module._programs) == before


def test_what_cannot_be_referred_to_weakly_is_compiled_at_each_call():
    class Slotted:
        __slots__ = ("pair",)

        def __call__(self, x):
            return self.pair.model(x)

    model = Slotted()
    model.pair = Pair()
    before = len(module._programs)
    found = [call("surgery", model, model.pair.guide) for _ in range(2)]
    assert found[0] == found[1]
    assert len(module._programs) == before
