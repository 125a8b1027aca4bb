"""Models, guides and settings that cannot be fitted in NumPyro: one error, site and remedy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer import init_to_value
from numpyro.infer.autoguide import AutoNormal

import numpyro_flowkit as fk
from flowkit_core.model_problems import ModelError
from tests.fits import BAD_GUIDE_SETTINGS
from tests.numpyro import models

TINY = {"num_layers": 1, "hidden_dims": (8,)}
NAN = math.nan
KEY = jax.random.key(0)


def fit(model, guide, *args, **settings):
    return fk.fit_guide(model, guide, *args, **{"num_steps": 20, "progress": False, **settings})


def discrete():
    kind = numpyro.sample("kind", dist.Bernoulli(0.5))
    numpyro.sample("x", dist.Normal(kind, 1.0))


def counted():
    with numpyro.plate("rows", 3):
        numpyro.sample("count", dist.Poisson(2.0))


def rows_of(data):
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(data)):
        numpyro.sample("y", dist.Normal(x, 1.0), obs=data)


def grouped(data):
    with numpyro.plate("groups", len(data)):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=data)


def scaled():
    scale = numpyro.sample("scale", dist.Gamma(2.0, 1.0))
    numpyro.sample("y", dist.Normal(0.0, scale), obs=1.0)


def bounded():
    share = numpyro.sample("share", dist.Uniform(2.0, 5.0).expand([2]).to_event(1))
    numpyro.sample("y", dist.Normal(share.sum(-1), 1.0), obs=1.0)


def beyond():
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Uniform(x, x + 1.0), obs=50.0)


def penalised():
    x = numpyro.sample("x", dist.Normal(0.0, 1e-3))
    numpyro.factor("penalty", jnp.log(x - 1.0))


def elsewhere():
    numpyro.sample("z", dist.Normal(0.0, 1.0))


def at(**values):
    starts = {name: jnp.asarray(value) for name, value in values.items()}
    return {"init_loc_fn": init_to_value(values=starts)}


# model, its arguments, settings of the guide, words of the message
MODELS = {
    "discrete": (discrete, (), {}, r"site 'kind' \(Bernoulli.*is discrete.*sum it out.*hide it"),
    "counts": (counted, (), {}, r"site 'count' \(Poisson\) is discrete"),
    "no latents": (
        models.no_latent, (), {}, r"no latent variables \(it has 'y', observed\).*no obs="
    ),
    "local latents": (
        models.subsampled, (np.zeros(10),), {},
        r"site 'local' .* plate 'rows', which draws 2 of 10 rows.*rows, or use AutoAmortisedFlow",
    ),
    "NaN in the data": (
        rows_of, (np.array([1.0, NAN]),), {}, r"site 'y' has log-density nan.*check its data"
    ),
    "infinite data": (rows_of, (np.array([math.inf]),), {}, r"site 'y' has log-density -inf"),
    "data outside of the support": (
        beyond, (), {}, r"site 'y' has log-density -inf.*values outside of the support"
    ),
    "a factor of NaN": (penalised, (), {}, r"site 'penalty' has log-density nan"),
    "no rows": (rows_of, (np.zeros(0),), {}, r"plate of size 0 \(after site 'x'\).*one row"),
    "no groups": (grouped, (np.zeros(0),), {}, r"plate of size 0 \(after the start\)"),
    "a start of another shape": (
        scaled, (), at(scale=[1.0, 2.0]), r"site 'scale': expected .* shape \(\), .* shape \(2,\)"
    ),
    "a start below the support": (
        scaled, (), at(scale=-1.0), r"site 'scale': expected .* inside of the support .*gives -1\.0"
    ),
    "a start of NaN": (scaled, (), at(scale=NAN), r"site 'scale': .*init_loc_fn gives nan"),
    "a start outside of an interval": (
        bounded, (), at(share=[3.0, 7.0]), r"site 'share': .*init_loc_fn gives \[3\.0, 7\.0\]"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_no_guide_fits_is_refused_by_site_and_remedy(case):
    model, args, settings, message = MODELS[case]
    guide = fk.AutoIAF(model, **TINY, **settings)
    for _ in range(2):  # and refused again
        with pytest.raises(ModelError, match=message):
            fit(model, guide, *args)
        with pytest.raises(ModelError, match=message):
            fk.warm_start(guide, *args, rng_key=KEY)


def test_data_that_turn_bad_after_the_first_call_are_refused_too():
    guide = fk.AutoIAF(rows_of, **TINY)
    models.call(guide, np.ones(3))
    with pytest.raises(ModelError, match="site 'y' has log-density nan"):
        fit(rows_of, guide, np.array([1.0, NAN, 1.0]))
    with pytest.raises(ModelError, match="plate of size 0"):
        fk.warm_start(guide, np.zeros(0), rng_key=KEY)


def test_other_latents_than_the_guide_has_met_are_refused():
    guide = fk.AutoIAF(grouped, **TINY)
    models.call(guide, np.zeros(3))
    message = r"site 'x': the guide has met .* shape \(3,\), .* shape \(4,\).*a new guide"
    with pytest.raises(ModelError, match=message):
        fit(grouped, guide, np.zeros(4))
    with pytest.raises(ModelError, match=message):
        fk.warm_start(guide, np.zeros(4), rng_key=KEY)


def test_another_model_than_the_guides_is_refused():
    guide = fk.AutoIAF(models.one_latent, **TINY)
    with pytest.raises(ModelError, match=r"site 'x': the guide has met .* shape \(\).*no such"):
        fit(elsewhere, guide)


def test_missing_data_behind_a_mask_are_no_problem():
    def masked(data):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        seen = ~np.isnan(data)
        with numpyro.plate("rows", len(data)), handlers.mask(mask=seen):
            numpyro.sample("y", dist.Normal(x, 1.0), obs=jnp.nan_to_num(data))

    start = fk.warm_start(fk.AutoIAF(masked, **TINY), np.array([3.0, NAN]), rng_key=KEY)
    assert start.gaussian.loc[0] == pytest.approx(1.5, abs=1e-6)


def test_starts_that_leave_a_support_by_rounding_only_are_taken():
    def simplex():  # medians of its coordinates do not add up to one
        numpyro.sample("simplex", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))

    start = fk.warm_start(fk.AutoIAF(simplex, **TINY), rng_key=KEY, num_starts=1)
    assert start.method in ("laplace", "pathfinder")


BAD_GUIDES = {
    "nothing": (lambda: None, "guide: expected a guide, got None"),
    "a number": (lambda: 3, "guide: expected a guide, got 3"),
    "a class": (lambda: fk.AutoIAF, "got the class itself, AutoIAF"),
}


@pytest.mark.parametrize("case", BAD_GUIDES)
def test_a_guide_that_is_none_is_refused(case):
    make, message = BAD_GUIDES[case]
    with pytest.raises(TypeError, match=message):
        fit(models.one_latent, make())
    with pytest.raises(TypeError, match="guide: expected an AutoFlow, got"):
        fk.warm_start(make(), rng_key=KEY)


def test_a_guide_in_place_of_the_model_is_refused():
    with pytest.raises(TypeError, match="model: expected a model, got the guide AutoIAF"):
        fit(fk.AutoIAF(models.one_latent, **TINY), models.one_latent)


def test_a_guide_without_parameters_is_refused():
    def fixed():
        numpyro.sample("x", dist.Normal(0.5, 0.7))

    with pytest.raises(ValueError, match="guide: neither it nor the model has parameters"):
        fit(models.one_latent, fixed)


def test_only_flow_guides_get_a_warm_start():
    with pytest.raises(TypeError, match="guide: expected an AutoFlow, got AutoNormal"):
        fk.warm_start(AutoNormal(models.one_latent), rng_key=KEY)


@pytest.mark.parametrize("name", BAD_GUIDE_SETTINGS)
def test_settings_out_of_range_are_refused_before_anything_happens(name):
    value, error, message = BAD_GUIDE_SETTINGS[name]
    guide = fk.AutoIAF(models.one_latent, **TINY)
    with pytest.raises(error, match=message):
        fit(models.one_latent, guide, **{name: value})
    assert guide.prototype_trace is None


def test_a_warm_start_refuses_them_too():
    guide = fk.AutoIAF(models.one_latent, **TINY)
    with pytest.raises(ValueError, match="num_starts: expected an integer >= 1, got 0"):
        fk.warm_start(guide, rng_key=KEY, num_starts=0)
    with pytest.raises(ValueError, match="expected one of 'laplace', 'pathfinder'"):
        fk.warm_start(guide, rng_key=KEY, method="foo")
