"""Copies, pickles and stored weights of guides."""

import copy
import pickle

import jax
import numpy as np
import optax
import pytest
from numpyro.infer import SVI, Trace_ELBO

import numpyro_flowkit as fk
from tests.numpyro import models
from tests.numpyro.models import FLOW, GUIDES, SMALL, assert_same_leaves, call, large, started
from tests.numpyro.normal_guides import every_guide

COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
}
every_copy = pytest.mark.parametrize("kind", COPIES)


def make(name, **kwargs):
    return GUIDES[name](models.hierarchy, **{**SMALL, **kwargs})


def inference(guide):
    return SVI(models.hierarchy, guide, optax.adam(0.05), Trace_ELBO(num_particles=4))


def run(guide, steps, **kwargs):
    return inference(guide).run(jax.random.key(4), steps, progress_bar=False, **kwargs)


def assert_same_guides(one, two, params):
    """The same quantiles, draws and parts under the same parameters."""
    levels = [0.05, 0.5, 0.95]
    assert_same_leaves(one.quantiles(params, levels), two.quantiles(params, levels))
    key = jax.random.key(6)
    assert_same_leaves(*(g.sample_posterior(key, params, sample_shape=(3,)) for g in (one, two)))


@pytest.mark.parametrize("name", ["iaf", pytest.param("realnvp", marks=pytest.mark.slow)])
@every_copy
def test_a_copy_of_a_trained_guide_is_the_same_guide(name, kind):
    guide = make(name)
    call(guide)  # the first call draws one key more, to initialise the model
    trained = run(guide, 8)
    again = COPIES[kind](guide)
    assert again.model is models.hierarchy
    assert_same_guides(again, guide, trained.params)
    same = run(again, 8)
    np.testing.assert_array_equal(same.losses, trained.losses)
    assert_same_leaves(same.params, trained.params)


@every_guide
@every_copy
def test_a_copy_made_before_the_first_call_starts_like_the_original(name, kind):
    guide = make(name)
    again = COPIES[kind](guide)
    params = call(guide, seed=1)[2]
    assert_same_leaves(call(again, seed=1)[2], params)
    assert_same_guides(again, guide, params)


@every_guide
@every_copy
def test_parameters_copy_with_the_flow_inside(name, kind):
    params = large(started(name, models.hierarchy)[1])
    again = COPIES[kind](params)
    assert again[FLOW] == params[FLOW]
    assert again[FLOW].spec == params[FLOW].spec
    assert_same_leaves(again, params)


@every_guide
def test_a_fresh_guide_called_once_takes_saved_parameters(name):
    guide, params = started(name, models.hierarchy)
    params = large(params)
    fresh = make(name)
    call(fresh, seed=99)  # learns the structure; what it draws plays no part
    assert_same_guides(fresh, guide, params)


@every_guide
def test_a_fresh_guide_takes_a_flow_from_a_file(name, tmp_path):
    guide, params = started(name, models.hierarchy)
    params = large(params)
    fk.save_flow(params[FLOW], tmp_path / "guide.safetensors")
    loaded = {FLOW: fk.load_flow(tmp_path / "guide.safetensors")}
    assert_same_leaves(loaded, params)
    fresh = make(name)
    call(fresh, seed=99)
    assert_same_guides(fresh, guide, loaded)
    key = jax.random.key(2)
    losses = [
        Trace_ELBO().loss(key, p, models.hierarchy, g)
        for p, g in ((params, guide), (loaded, fresh))
    ]
    assert losses[0] == losses[1]


@every_guide
def test_training_starts_from_saved_parameters(name, tmp_path):
    params = large(started(name, models.hierarchy)[1])
    fk.save_flow(params[FLOW], tmp_path / "guide.safetensors")
    loaded = {FLOW: fk.load_flow(tmp_path / "guide.safetensors")}
    svi = inference(make(name))
    state = svi.init(jax.random.key(8), init_params=loaded)
    assert_same_leaves(svi.get_params(state), params)
    state, loss = jax.jit(svi.update)(state)
    assert np.isfinite(loss)
    changed = svi.get_params(state)[FLOW]
    assert jax.tree.structure(changed) == jax.tree.structure(params[FLOW])
    assert changed != params[FLOW]


def test_inference_continued_from_its_state_equals_one_long_run():
    guide = make("maf")
    call(guide)
    svi = inference(guide)
    key = jax.random.key(4)
    whole = svi.run(key, 16, progress_bar=False)
    first = svi.run(key, 8, progress_bar=False)
    second = svi.run(jax.random.key(5), 8, progress_bar=False, init_state=first.state)
    np.testing.assert_array_equal(np.concatenate([first.losses, second.losses]), whole.losses)
    assert_same_leaves(second.params, whole.params)


def test_a_pickled_state_continues_alike():
    svi = inference(make("iaf"))
    update = jax.jit(svi.update)
    state, _ = update(svi.init(jax.random.PRNGKey(0)))
    expected, got = update(state), update(pickle.loads(pickle.dumps(state)))
    assert expected[1] == got[1]
    assert_same_leaves(svi.get_params(expected[0]), svi.get_params(got[0]))
