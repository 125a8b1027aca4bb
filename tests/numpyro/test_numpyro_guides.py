"""Flow guides: where they start, what they return, what they refuse."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.autoguide import AutoDiagonalNormal, AutoGuideList, AutoNormal
from numpyro.infer.initialization import init_to_median, init_to_uniform, init_to_value

import numpyro_flowkit as fk
from tests.numpyro import models
from tests.numpyro import normal_guides as normal
from tests.numpyro.models import FLOW, GUIDES, SMALL, call, large, started
from tests.numpyro.normal_guides import every_guide

# Where the oldest JAX allowed has it; later ones warn of that place.
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
START = {"weights": jnp.array([1.5, -2.0])}
SHAPES = {"mu": (), "tau": (), "theta": (3,)}


def shapes_of(values):
    return {name: value.shape for name, value in values.items()}


@every_guide
@pytest.mark.parametrize("init_scale", [0.1, 0.7])
def test_a_guide_starts_as_the_normal_at_its_initial_location(name, init_scale, rng):
    guide, params = started(name, init_loc_fn=init_to_value(values=START), init_scale=init_scale)
    x = rng.normal(size=(20, 2)) * init_scale + START["weights"]
    expected = dist.Normal(START["weights"], init_scale).to_event(1).log_prob(x)
    np.testing.assert_allclose(guide.get_posterior(params).log_prob(x), expected, rtol=1e-12)


@every_guide
def test_first_draws_have_the_initial_mean_and_scale(name):
    guide, params = started(name, init_loc_fn=init_to_value(values=START), init_scale=0.3)
    draws = guide.sample_posterior(jax.random.key(1), params, sample_shape=(4000,))["weights"]
    # Standard errors: 0.3 / sqrt(4000) of the mean, 0.3 / sqrt(8000) of the sd; five of them.
    assert jnp.abs(draws.mean(0) - START["weights"]).max() < 5 * 0.3 / math.sqrt(4000)
    assert jnp.abs(draws.std(0) - 0.3).max() < 5 * 0.3 / math.sqrt(8000)


@every_guide
@pytest.mark.parametrize("given", [None, init_to_uniform(radius=1.0)], ids=["median", "uniform"])
def test_the_location_is_that_of_the_initial_strategy(name, given):
    kwargs = {} if given is None else {"init_loc_fn": given}
    _, params = started(name, models.hierarchy, seed=3, **kwargs)
    normal = AutoDiagonalNormal(models.hierarchy, init_loc_fn=given or init_to_median)
    np.testing.assert_array_equal(params[FLOW].layers[1].shift, call(normal, seed=3)[2]["auto_loc"])


@every_guide
def test_a_single_latent_works(name):
    guide, params = started(name, models.one_latent)
    assert guide.latent_dim == 1
    draws = guide.sample_posterior(jax.random.key(0), params, sample_shape=(7,))
    assert draws["x"].shape == (7,)
    assert guide.median(params)["x"].shape == ()


@every_guide
def test_the_trace_holds_every_site_and_one_parameter(name):
    values, trace, params = call(GUIDES[name](models.hierarchy, prefix="mine", **SMALL))
    assert shapes_of(values) == SHAPES
    latents = {k for k, s in trace.items() if s["type"] == "sample"}
    assert latents == {"_mine_latent", "mu", "tau", "theta"}
    assert [k for k, s in trace.items() if s.get("infer", {}).get("is_auxiliary")] == [
        "_mine_latent"
    ]
    assert list(params) == ["mine_flow$params"]
    assert isinstance(params["mine_flow$params"], fk.Flow)


@every_guide
def test_the_auxiliary_site_carries_the_whole_density(name):
    guide, params = started(name, models.hierarchy)
    params = large(params)
    with handlers.seed(rng_seed=1), handlers.substitute(data=params), handlers.trace() as trace:
        guide()
    log_probs = {
        k: s["fn"].log_prob(s["value"]).sum() for k, s in trace.items() if s["type"] == "sample"
    }
    latent = trace["_auto_latent"]["value"]
    expected = guide.get_posterior(params).log_prob(latent)
    np.testing.assert_allclose(log_probs["_auto_latent"], expected, rtol=1e-9)
    # In model coordinates only tau = exp(u) has a log-determinant, u.
    np.testing.assert_allclose(
        sum(log_probs.values()), expected - jnp.log(trace["tau"]["value"]), rtol=1e-9
    )


@every_guide
def test_parts_need_no_seed_and_agree(name):
    guide, params = started(name, models.hierarchy)
    params = large(params)
    z = guide.get_base_dist().sample(jax.random.key(2), (5,))
    transform, posterior = guide.get_transform(params), guide.get_posterior(params)
    x, log_det = transform.forward_and_log_det(z)
    expected = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1) - log_det
    np.testing.assert_allclose(posterior.log_prob(x), expected, rtol=1e-8)


@every_guide
def test_draws_have_the_sample_shape_and_follow_the_key(name):
    guide, params = started(name, models.hierarchy)

    def draw(seed):
        return guide.sample_posterior(jax.random.key(seed), params, sample_shape=(4, 2))

    one, two, other = draw(1), draw(1), draw(2)
    assert shapes_of(one) == {k: (4, 2, *s) for k, s in SHAPES.items()}
    single = guide.sample_posterior(jax.random.key(1), params)
    assert shapes_of(single) == SHAPES
    for site in SHAPES:
        np.testing.assert_array_equal(one[site], two[site])
        assert (one[site] != other[site]).all()


@every_guide
def test_quantiles_of_a_fresh_guide_are_those_of_its_normal(name):
    start = init_to_value(values={"mu": 0.5, "tau": 2.0, "theta": jnp.array([1.0, 2.0, 3.0])})
    guide, params = started(name, models.hierarchy, init_loc_fn=start, init_scale=0.4)
    levels = np.array([0.05, 0.5, 0.9])
    got = guide.quantiles(params, levels)
    assert shapes_of(got) == {k: (3, *s) for k, s in SHAPES.items()}
    z = np.asarray(dist.Normal().icdf(levels))
    # Standard error of a quantile from 10,000 draws: sqrt(p (1 - p) / n) / density; four of them.
    error = 4 * 0.4 * np.sqrt(levels * (1 - levels) / 10_000) / np.exp(dist.Normal().log_prob(z))
    assert (np.abs(got["mu"] - (0.5 + 0.4 * z)) < error).all()
    assert (np.abs(np.log(got["tau"]) - (math.log(2.0) + 0.4 * z)) < error).all()
    theta = np.array([1.0, 2.0, 3.0]) + 0.4 * z[:, None]
    assert (np.abs(got["theta"] - theta) < error[:, None]).all()
    for site, middle in guide.median(params).items():
        np.testing.assert_array_equal(middle, got[site][1])


@every_guide
def test_quantiles_increase_and_take_lists_and_arrays(name):
    guide, params = started(name, models.hierarchy)
    params = large(params)
    levels = [0.1, 0.5, 0.9]
    got = guide.quantiles(params, levels)
    for site, values in guide.quantiles(params, jnp.array(levels)).items():
        assert (jnp.diff(values, axis=0) > 0).all()
        np.testing.assert_array_equal(values, got[site])


@every_guide
def test_values_lie_in_their_supports(name):
    guide, params = started(name, models.supports, num_layers=1)
    params = large(params)
    for values in (
        guide.sample_posterior(jax.random.key(0), params, sample_shape=(50,)),
        guide.quantiles(params, [0.01, 0.5, 0.99]),
    ):
        assert {k: v.shape[1:] for k, v in values.items()} == {
            "simplex": (3,), "ordered": (3,), "positive": (), "interval": (), "matrix": (2, 2)
        }  # fmt: skip
        np.testing.assert_allclose(values["simplex"].sum(-1), 1, rtol=1e-12)
        assert (values["simplex"] >= 0).all()
        assert (jnp.diff(values["ordered"], axis=-1) > 0).all()
        assert (values["positive"] > 0).all()
        assert ((values["interval"] >= 2) & (values["interval"] <= 5)).all()


@every_guide
@pytest.mark.parametrize("x64", [False, True])
def test_a_guide_has_jaxs_default_precision(name, x64):
    with enable_x64(x64):
        guide, params = started(name, models.one_latent)
        posterior = guide.get_posterior(params)
        x = posterior.sample(jax.random.key(0))
        found = [*jax.tree.leaves(params), x, posterior.log_prob(x), guide.median(params)["x"]]
    assert {value.dtype for value in found} == {np.dtype(np.float64 if x64 else np.float32)}


@every_guide
def test_a_guide_takes_the_dtype_of_its_initial_location(name):
    start = init_to_value(values={"x": np.float32(0.5)})
    _, params = started(name, models.one_latent, init_loc_fn=start)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def listed(first, second):
    guides = AutoGuideList(models.hierarchy)
    guides.append(first(handlers.block(models.hierarchy, hide=["theta"])))
    guides.append(second(handlers.block(models.hierarchy, hide=["mu", "tau"])))
    return guides


def test_flow_guides_of_distinct_prefixes_share_a_list():
    guides = listed(
        lambda m: normal.AutoMAF(m, prefix="a", **SMALL),
        lambda m: normal.AutoIAF(m, prefix="b", **SMALL),
    )
    values, _, params = call(guides)
    assert shapes_of(values) == SHAPES
    assert sorted(params) == ["a_flow$params", "b_flow$params"]
    assert [guide.latent_dim for guide in guides] == [2, 3]


def test_a_list_with_another_guide_has_median_and_quantiles():
    guides = listed(
        lambda m: normal.AutoRealNVP(m, **SMALL), lambda m: AutoNormal(m, prefix="other")
    )
    params = call(guides)[2]
    assert shapes_of(guides.median(params)) == SHAPES
    assert shapes_of(guides.quantiles(params, [0.1, 0.9])) == {
        k: (2, *s) for k, s in SHAPES.items()
    }


def test_one_prefix_twice_in_a_list_is_refused():
    guides = listed(lambda m: normal.AutoMAF(m, **SMALL), lambda m: normal.AutoIAF(m, **SMALL))
    with pytest.raises(AssertionError, match="unique names"):
        call(guides)
