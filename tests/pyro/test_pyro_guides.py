"""Flow guides: where they start, what they return, what they refuse."""

import functools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import init_to_median, init_to_value
from pyro.infer.autoguide.initialization import InitMessenger

import pyro_flowkit as fk
from tests.pyro import models
from tests.pyro import normal_guides as normal
from tests.pyro.helpers import SMALL, large

NAMED = {"maf": normal.AutoMAF, "iaf": normal.AutoIAF, "realnvp": normal.AutoRealNVP}
every_guide = pytest.mark.parametrize("name", NAMED)
START = {"weights": torch.tensor([1.5, -2.0])}


def started(name, model=models.regression, **kwargs):
    guide = NAMED[name](model, **SMALL, **kwargs)
    guide()
    return guide


@every_guide
@pytest.mark.parametrize("init_scale", [0.1, 0.7])
def test_a_guide_starts_as_the_normal_at_its_initial_location(name, init_scale):
    guide = started(name, init_loc_fn=init_to_value(values=START), init_scale=init_scale)
    x = torch.randn(20, 2) * init_scale + START["weights"]
    expected = dist.Normal(START["weights"], init_scale).to_event(1).log_prob(x)
    torch.testing.assert_close(guide.get_posterior().log_prob(x), expected)


@every_guide
def test_first_draws_have_the_initial_mean_and_scale(name):
    guide = started(name, init_loc_fn=init_to_value(values=START), init_scale=0.3)
    draws = guide.sample_posterior(4000, generator=torch.Generator().manual_seed(1))["weights"]
    # Standard errors: 0.3 / sqrt(4000) of the mean, 0.3 / sqrt(8000) of the sd; five of them.
    assert (draws.mean(0) - START["weights"]).abs().max() < 5 * 0.3 / math.sqrt(4000)
    assert (draws.std(0) - 0.3).abs().max() < 5 * 0.3 / math.sqrt(8000)


@every_guide
def test_the_default_location_is_that_of_init_to_median(name):
    pyro.set_rng_seed(3)
    seeded = poutine.trace(InitMessenger(init_to_median)(models.hierarchy)).get_trace()
    pyro.set_rng_seed(3)
    _, affine, _ = started(name, models.hierarchy).get_transform().layers
    values = [seeded.nodes[site]["value"] for site in ("mu", "tau", "theta")]
    expected = torch.cat([values[0].view(1), values[1].log().view(1), values[2]])
    torch.testing.assert_close(affine.shift, expected)


@every_guide
def test_a_single_latent_works(name):
    guide = started(name, models.one_latent)
    assert guide.latent_dim == 1
    assert guide.sample_posterior(7)["x"].shape == (7,)
    assert guide.median()["x"].shape == ()


@every_guide
def test_a_guide_returns_a_value_of_every_site(name):
    values = started(name, models.hierarchy)()
    assert {k: v.shape for k, v in values.items()} == {"mu": (), "tau": (), "theta": (3,)}


@every_guide
def test_the_auxiliary_site_carries_the_whole_density(name):
    # In float64: the guide scores its draw on the way forward, the check on the way back.
    guide = large(started(name, models.hierarchy))
    trace = poutine.trace(guide).get_trace()
    samples = [s for s in trace.nodes.values() if s["type"] == "sample"]
    (latent,) = (s for s in samples if s["infer"].get("is_auxiliary"))
    trace.compute_log_prob()
    # Of log q(theta) in model coordinates only tau = exp(u) has a log-determinant, u.
    u = trace.nodes["tau"]["value"].log()
    expected = guide.get_posterior().log_prob(latent["value"]) - u
    torch.testing.assert_close(trace.log_prob_sum(), expected)


@every_guide
def test_shapes_of_what_a_guide_returns(name):
    guide = started(name, models.hierarchy)
    shapes = {"mu": (), "tau": (), "theta": (3,)}
    assert {k: v.shape for k, v in guide.median().items()} == shapes
    quantiles = guide.quantiles([0.1, 0.5, 0.9])
    assert {k: v.shape for k, v in quantiles.items()} == {k: (3, *s) for k, s in shapes.items()}
    draws = guide.sample_posterior(6)
    assert {k: v.shape for k, v in draws.items()} == {k: (6, *s) for k, s in shapes.items()}


@every_guide
def test_quantiles_increase_and_the_median_is_the_middle_one(name):
    guide = large(started(name, models.hierarchy), dtype=torch.float32)
    quantiles = guide.quantiles([0.1, 0.5, 0.9])
    for site, values in quantiles.items():
        assert (values.diff(dim=0) > 0).all()
        torch.testing.assert_close(values[1], guide.median()[site])


@every_guide
def test_quantiles_take_a_tensor(name):
    guide = started(name, models.hierarchy)
    got = guide.quantiles(torch.tensor([0.1, 0.9]))["theta"]
    torch.testing.assert_close(got, guide.quantiles([0.1, 0.9])["theta"], rtol=0, atol=0)


@every_guide
def test_sample_posterior_repeats_with_a_generator(name):
    guide = started(name, models.hierarchy)
    one, two = (guide.sample_posterior(5, generator=torch.Generator().manual_seed(3)) for _ in "ab")
    torch.testing.assert_close(one, two, rtol=0, atol=0)


@every_guide
def test_subsampled_local_latents_are_refused(name):
    guide = NAMED[name](models.subsampled, **SMALL)
    for _ in range(2):  # and refused again
        with pytest.raises(ValueError, match="does not support local latent variables"):
            guide(torch.zeros(10))


ASKED_EARLY = {
    "get_posterior": lambda g: g.get_posterior(),
    "get_transform": lambda g: g.get_transform(),
    "get_base_dist": lambda g: g.get_base_dist(),
    "median": lambda g: g.median(),
    "quantiles": lambda g: g.quantiles([0.5]),
    "sample_posterior": lambda g: g.sample_posterior(3),
}


@every_guide
@pytest.mark.parametrize("part", ASKED_EARLY)
def test_parts_asked_for_before_the_first_call_raise(name, part):
    with pytest.raises(RuntimeError, match=r"call guide\(\*args\) once"):
        ASKED_EARLY[part](NAMED[name](models.regression))


@every_guide
def test_a_model_without_latents_is_refused(name):
    with pytest.raises(RuntimeError, match="no latent variables"):
        NAMED[name](models.no_latent)()


BAD_FLOWS = {
    "another dimension": (lambda d: fk.maf(d + 1, **SMALL), ValueError, "expected input_dim=2"),
    "a context": (lambda d: fk.maf(d, context_dim=1, **SMALL), ValueError, "no context"),
    "no flow": (lambda d: torch.nn.Linear(d, d), TypeError, "to return a Flow"),
}


@pytest.mark.parametrize("case", BAD_FLOWS)
def test_a_flow_that_does_not_fit_is_refused(case):
    make, error, message = BAD_FLOWS[case]
    with pytest.raises(error, match=message):
        fk.AutoFlow(models.regression, make)()


def test_a_finished_flow_in_place_of_a_recipe_is_refused():
    with pytest.raises(TypeError, match="expected a callable"):
        fk.AutoFlow(models.regression, fk.maf(2, **SMALL))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_an_initial_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="init_scale: expected a finite number > 0"):
        fk.AutoFlow(models.regression, fk.maf, init_scale=scale)


def test_any_recipe_serves_autoflow():
    for recipe in (fk.lu_linear, fk.qr_linear, functools.partial(fk.nice, **SMALL)):
        guide = fk.AutoFlow(models.hierarchy, recipe)
        assert guide()["theta"].shape == (3,)


@every_guide
def test_a_float64_model_has_a_float64_guide(name):
    guide = started(name, models.double_precision)
    assert {p.dtype for p in guide.parameters()} == {torch.float64}
    assert guide.median()["x"].dtype == torch.float64


@every_guide
def test_values_lie_in_their_supports(name):
    guide = large(started(name, models.supports), dtype=torch.float32)
    for values in (guide.sample_posterior(50), guide.quantiles([0.01, 0.5, 0.99])):
        assert {k: tuple(v.shape[1:]) for k, v in values.items()} == {
            "simplex": (3,), "ordered": (3,), "positive": (), "interval": (), "matrix": (2, 2)
        }  # fmt: skip
        torch.testing.assert_close(values["simplex"].sum(-1), torch.ones(len(values["simplex"])))
        assert (values["simplex"] >= 0).all()
        assert (values["ordered"].diff(dim=-1) >= 0).all()
        assert (values["positive"] >= 0).all()
        assert ((values["interval"] >= 2) & (values["interval"] <= 5)).all()


@every_guide
def test_no_parameter_is_a_direct_attribute_of_the_guide(name):
    guide = started(name)
    assert list(guide._parameters) == []
    assert all(n.startswith("transform.") for n, _ in guide.named_parameters())
