"""What flow guides refuse, and how they say so."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.reparam import NeuTraReparam
from numpyro.optim import Adam

import numpyro_flowkit as fk
from tests.numpyro import models
from tests.numpyro.models import FLOW, GUIDES, SMALL, call, started
from tests.numpyro.normal_guides import every_guide


@every_guide
def test_subsampled_local_latents_are_refused(name):
    guide = GUIDES[name](models.subsampled, **SMALL)
    for _ in range(2):  # and refused again
        with pytest.raises(ValueError, match="does not support local latent variables"):
            call(guide, np.zeros(10))


@every_guide
def test_a_model_without_latents_is_refused(name):
    guide = GUIDES[name](models.no_latent, **SMALL)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no latent variables"):
            call(guide)


ASKED_EARLY = {
    "get_base_dist": lambda g, p: g.get_base_dist(),
    "get_transform": lambda g, p: g.get_transform(p),
    "get_posterior": lambda g, p: g.get_posterior(p),
    "median": lambda g, p: g.median(p),
    "quantiles": lambda g, p: g.quantiles(p, [0.5]),
    "sample_posterior": lambda g, p: g.sample_posterior(jax.random.key(0), p),
    "NeuTraReparam": lambda g, p: NeuTraReparam(g, p),
}


@pytest.fixture(scope="module")
def saved():
    return {name: started(name)[1] for name in GUIDES}


@every_guide
@pytest.mark.parametrize("part", ASKED_EARLY)
@pytest.mark.parametrize("with_params", [False, True])
def test_parts_asked_for_before_the_first_call_say_what_to_do(name, part, with_params, saved):
    guide = GUIDES[name](models.regression, **SMALL)
    with pytest.raises(RuntimeError, match=r"handlers\.seed\(rng_seed=0\): guide\(\*args\)"):
        ASKED_EARLY[part](guide, saved[name] if with_params else {})


BAD_FLOWS = {
    "another dimension": (
        lambda d: fk.maf(d + 1, **SMALL), ValueError, "expected input_dim=2 .*got input_dim=3"
    ),
    "a context": (
        lambda d: fk.maf(d, context_dim=1, **SMALL), ValueError, "no context, got .*context_dim=1"
    ),
    "no flow": (
        lambda d: lambda key: jnp.zeros(d), TypeError, "to lead to a Flow, got Array"
    ),
    "no initialiser": (lambda d: None, TypeError, "expected it to .*got NoneType"),
    "a flow with its weights": (
        lambda d: fk.maf(d, **SMALL)(jax.random.key(0)), TypeError, "expected it to .*got Compose"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FLOWS)
def test_a_flow_that_does_not_fit_is_refused(case):
    make, error, message = BAD_FLOWS[case]
    with pytest.raises(error, match=message):
        call(fk.AutoFlow(models.regression, make))
    svi = SVI(models.regression, fk.AutoFlow(models.regression, make), Adam(0.1), Trace_ELBO())
    with pytest.raises(error, match=message):
        svi.init(jax.random.key(0))


FINISHED = {
    "a recipe's result": lambda: fk.maf(2, **SMALL),
    "a flow": lambda: fk.maf(2, **SMALL)(jax.random.key(0)),
    "a name": lambda: "maf",
    "nothing": lambda: None,
}


@pytest.mark.parametrize("kind", FINISHED)
def test_something_else_in_place_of_a_recipe_is_refused(kind):
    with pytest.raises(TypeError, match="flow: expected a callable from the number of latents"):
        fk.AutoFlow(models.regression, FINISHED[kind]())


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_an_initial_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="init_scale: expected a finite number > 0"):
        fk.AutoFlow(models.regression, fk.maf, init_scale=scale)


RECIPES = {
    "lu_linear": fk.lu_linear,
    "qr_linear": fk.qr_linear,
    "nice": functools.partial(fk.nice, **SMALL),
    "compose": lambda d: fk.compose(fk.lu_linear(d), fk.maf(d, **SMALL)),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_any_recipe_serves_autoflow(recipe):
    values, _, params = call(fk.AutoFlow(models.hierarchy, RECIPES[recipe]))
    assert values["theta"].shape == (3,)
    assert params[FLOW].input_dim == 5
