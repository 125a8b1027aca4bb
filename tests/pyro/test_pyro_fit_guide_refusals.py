"""Models, guides and settings that cannot be fitted in Pyro: one clear error, site and remedy."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal, init_to_value

import pyro_flowkit as fk
from flowkit_core.model_problems import ModelError
from tests.fits import BAD_GUIDE_SETTINGS
from tests.pyro import models

TINY = {"num_layers": 1, "hidden_dims": (8,)}
NAN = math.nan


def fit(model, guide, *args, **settings):
    return fk.fit_guide(model, guide, *args, **{"num_steps": 20, "progress": False, **settings})


def discrete():
    kind = pyro.sample("kind", dist.Bernoulli(0.5))
    pyro.sample("x", dist.Normal(kind, 1.0))


def counted():
    with pyro.plate("rows", 3):
        pyro.sample("count", dist.Poisson(2.0))


def rows_of(data):
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(data)):
        pyro.sample("y", dist.Normal(x, 1.0), obs=data)


def grouped(data):
    with pyro.plate("groups", len(data)):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, 1.0), obs=data)


def scaled():
    scale = pyro.sample("scale", dist.Gamma(2.0, 1.0))
    pyro.sample("y", dist.Normal(0.0, scale), obs=torch.tensor(1.0))


def bounded():
    share = pyro.sample("share", dist.Uniform(2.0, 5.0).expand([2]).to_event(1))
    pyro.sample("y", dist.Normal(share.sum(-1), 1.0), obs=torch.tensor(1.0))


def beyond():
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Uniform(x, x + 1.0), obs=torch.tensor(50.0))


def penalised():
    x = pyro.sample("x", dist.Normal(0.0, 1e-3))
    pyro.factor("penalty", torch.log(x - 1.0))


def elsewhere():
    pyro.sample("z", dist.Normal(0.0, 1.0))


def at(**values):
    starts = {name: torch.as_tensor(value) for name, value in values.items()}
    return {"init_loc_fn": init_to_value(values=starts)}


def mixed():
    components = dist.Normal(torch.tensor([-1.0, 1.0]), 1.0)
    pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), components))


# model, its arguments, settings of the guide, words of the message
MODELS = {
    "discrete": (discrete, (), {}, r"site 'kind' \(Bernoulli\) is discrete.*sum it out.*hide it"),
    "counts": (counted, (), {}, r"site 'count' \(Poisson\) is discrete"),
    "unknown support": (
        mixed, (), {}, r"site 'x' \(MixtureSameFamily\) has the support .*biject_to.*enumerate it"
    ),
    "no latents": (
        models.no_latent, (), {}, r"no latent variables \(it has 'y', observed\).*no obs="
    ),
    "local latents": (
        models.subsampled, (torch.zeros(10),), {},
        r"site 'local' .* plate 'rows', which draws 2 of 10 rows.*rows, or use AutoAmortisedFlow",
    ),
    "NaN in the data": (
        rows_of, (torch.tensor([1.0, NAN]),), {}, r"site 'y' has log-density nan.*check its data"
    ),
    "infinite data": (rows_of, (torch.tensor([math.inf]),), {}, r"site 'y' has log-density -inf"),
    "data outside of the support": (
        beyond, (), {}, r"site 'y' has log-density -inf.*values outside of the support"
    ),
    "a factor of NaN": (penalised, (), {}, r"site 'penalty' has log-density nan"),
    "no rows": (rows_of, (torch.zeros(0),), {}, r"plate of size 0 \(after site 'x'\).*one row"),
    "no groups": (grouped, (torch.zeros(0),), {}, r"plate of size 0 \(after the start\)"),
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
            fk.warm_start(guide, *args)
    assert not list(pyro.get_param_store().keys())


def test_data_that_turn_bad_after_the_first_call_are_refused_too():
    guide = fk.AutoIAF(rows_of, **TINY)
    guide(torch.ones(3))
    with pytest.raises(ModelError, match="site 'y' has log-density nan"):
        fit(rows_of, guide, torch.tensor([1.0, NAN, 1.0]))
    with pytest.raises(ModelError, match="plate of size 0"):
        fk.warm_start(guide, torch.zeros(0))


def test_other_latents_than_the_guide_has_met_are_refused():
    guide = fk.AutoIAF(grouped, **TINY)
    guide(torch.zeros(3))
    message = r"site 'x': the guide has met .* shape \(3,\), .* shape \(4,\).*a new guide"
    with pytest.raises(ModelError, match=message):
        fit(grouped, guide, torch.zeros(4))
    with pytest.raises(ModelError, match=message):
        fk.warm_start(guide, torch.zeros(4))
    with pytest.raises(ModelError, match=r"site 'x': the guide has met .* shape \(3,\).*no such"):
        fit(elsewhere, guide)


def test_missing_data_behind_a_mask_are_no_problem():
    def masked(data):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(data)), poutine.mask(mask=~torch.isnan(data)):
            pyro.sample("y", dist.Normal(x, 1.0, validate_args=False), obs=data.nan_to_num())

    start = fk.warm_start(fk.AutoIAF(masked, **TINY), torch.tensor([3.0, NAN]))
    assert start.gaussian.loc[0] == pytest.approx(1.5, abs=1e-4)


def test_starts_that_leave_a_support_by_rounding_only_are_taken():
    start = fk.warm_start(fk.AutoIAF(models.supports, **TINY))
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
        fk.warm_start(make())


def test_a_guide_in_place_of_the_model_is_refused():
    with pytest.raises(TypeError, match="model: expected a model, got the guide AutoIAF"):
        fit(fk.AutoIAF(models.one_latent, **TINY), models.one_latent)


def test_a_guide_without_parameters_is_refused():
    def fixed():
        pyro.sample("x", dist.Normal(0.5, 0.7))

    with pytest.raises(ValueError, match="guide: neither it nor the model has parameters"):
        fit(models.one_latent, fixed)


def test_only_flow_guides_get_a_warm_start():
    with pytest.raises(TypeError, match="guide: expected an AutoFlow, got AutoNormal"):
        fk.warm_start(AutoNormal(models.one_latent))


@pytest.mark.parametrize("name", BAD_GUIDE_SETTINGS)
def test_settings_out_of_range_are_refused_before_anything_happens(name):
    value, error, message = BAD_GUIDE_SETTINGS[name]
    guide = fk.AutoIAF(models.one_latent, **TINY)
    with pytest.raises(error, match=message):
        fit(models.one_latent, guide, **{name: value})
    assert guide.prototype_trace is None


@pytest.mark.parametrize("name", ["num_starts", "seed"])
def test_a_warm_start_refuses_them_too(name):
    value, error, message = BAD_GUIDE_SETTINGS[name]
    with pytest.raises(error, match=message):
        fk.warm_start(fk.AutoIAF(models.one_latent, **TINY), **{name: value})
    with pytest.raises(ValueError, match="expected one of 'laplace', 'pathfinder'"):
        fk.warm_start(fk.AutoIAF(models.one_latent, **TINY), method="foo")
