"""Guides of Pyro that start where the posterior is."""

import math
import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import init_to_value
from pyro.optim import Adam

import pyro_flowkit as fk
from flowkit_core.warm_start import mean_field
from pyro_flowkit.guides.layers import has_frame
from tests.pyro import models
from tests.pyro.diagnosed import evidence

TINY = {"num_layers": 1, "hidden_dims": (8,), "base": "normal"}
GUIDES = {"maf": fk.AutoMAF, "iaf": fk.AutoIAF, "realnvp": fk.AutoRealNVP}


def elbo_of(guide, model=models.regression, count=4000):
    """Mean of ``log p - log q`` over draws of a guide, and its standard error."""
    elbo = Trace_ELBO(num_particles=count, vectorize_particles=True, max_plate_nesting=1)
    terms = []
    with torch.no_grad():
        for _ in range(10):
            terms.append(-elbo.differentiable_loss(model, guide))
    terms = torch.stack(terms)
    return float(terms.mean()), float(terms.std() / math.sqrt(len(terms)))


@pytest.mark.parametrize("method", ["laplace", "pathfinder"])
@pytest.mark.parametrize("name", GUIDES)
def test_a_normal_posterior_is_found(name, method):
    guide = GUIDES[name](models.regression, **TINY)
    start = fk.warm_start(guide, method=method)
    mean, covariance = models.regression_posterior()
    tolerance = 1e-5 if method == "laplace" else 0.05  # of a standard deviation of about 0.4
    np.testing.assert_allclose(start.gaussian.loc, mean, atol=tolerance)
    found = start.gaussian.scale @ start.gaussian.scale.T
    np.testing.assert_allclose(found, covariance, atol=tolerance)
    assert (start.method, start.params) == (method, None)


@pytest.mark.parametrize("name", GUIDES)
def test_the_guide_then_is_the_posterior(name):
    guide = GUIDES[name](models.regression, **TINY)
    start = fk.warm_start(guide)
    elbo, error = elbo_of(guide)
    assert abs(elbo - evidence()) < 4 * error + 1e-4
    assert error < 1e-4  # log p - log q is the evidence at every draw
    draws = guide.sample_posterior(20_000, generator=torch.Generator().manual_seed(1))["weights"]
    np.testing.assert_allclose(draws.mean(0), start.gaussian.loc, atol=0.02)
    np.testing.assert_allclose(draws.std(0), start.gaussian.sds, rtol=0.03)


def double_precision():
    """Three numbers of which the sum was seen to be two."""
    x = pyro.sample("x", dist.Normal(torch.zeros(3).double(), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(x.sum(-1), 0.5), obs=torch.tensor(2.0).double())


def test_in_float64_it_is_exact():
    guide = fk.AutoIAF(double_precision, **TINY)
    start = fk.warm_start(guide)
    precision = torch.eye(3).double() + 4  # 1 / 0.5^2 for the sum
    covariance = torch.linalg.inv(precision)
    np.testing.assert_allclose(start.gaussian.loc, covariance.sum(1) * 4 * 2, atol=1e-10)
    found = start.gaussian.scale @ start.gaussian.scale.T
    np.testing.assert_allclose(found, covariance, atol=1e-10)
    assert next(guide.parameters()).dtype == torch.float64


def test_latents_of_any_scale_and_support_are_found():
    def model():
        far = pyro.sample("far", dist.Normal(1e4, 1e-2))
        small = pyro.sample("small", dist.LogNormal(-5.0, 0.01))
        pyro.sample("share", dist.Beta(300.0, 700.0))
        pyro.sample("y", dist.Normal(small, 1.0), obs=torch.tensor(0.0))
        pyro.sample("z", dist.Normal(far, 1e2), obs=torch.tensor(1e4))

    guide = fk.AutoIAF(model, **TINY)
    start = fk.warm_start(guide)
    assert start.gaussian.loc[0] == pytest.approx(1e4, rel=1e-6)
    assert start.gaussian.loc[1] == pytest.approx(-5.0, abs=1e-3)
    median = guide.median()
    assert float(median["share"]) == pytest.approx(0.3, abs=0.01)


def two_modes():
    """Of the two modes of x the one at 6 holds e^12 times what the other one does."""
    x = pyro.sample("x", dist.Normal(0.0, 10.0))
    near = dist.Normal(-6.0, 0.5).log_prob(x)
    far = dist.Normal(6.0, 0.5).log_prob(x) + 12.0
    pyro.factor("modes", torch.stack([near, far]).logsumexp(0))


def test_of_two_modes_the_higher_one_wins_wherever_the_guide_starts():
    start = init_to_value(values={"x": torch.tensor(-6.0)})
    found = fk.warm_start(fk.AutoIAF(two_modes, init_loc_fn=start, **TINY), num_starts=6)
    assert found.gaussian.loc[0] == pytest.approx(6.0, abs=0.1)
    assert found.num_modes == 2


def test_a_funnel_gets_a_finite_start():
    def funnel():
        v = pyro.sample("v", dist.Normal(0.0, 3.0))
        with pyro.plate("rows", 4):
            pyro.sample("x", dist.Normal(0.0, (v / 2).exp()))

    guide = fk.AutoIAF(funnel, **TINY)
    start = fk.warm_start(guide)
    assert math.isfinite(start.elbo)
    assert np.isfinite(start.gaussian.scale).all()
    assert -10 < start.elbo < 4 * start.elbo_stderr


def test_the_guide_trains_on_by_svi_by_hand():
    guide = fk.AutoIAF(models.hierarchy, **TINY)
    fk.warm_start(guide)
    frame = [p.clone() for p in guide.get_transform().layers[-1].parameters()]
    before, error = elbo_of(guide, models.hierarchy)
    elbo = Trace_ELBO(num_particles=16, vectorize_particles=True, max_plate_nesting=1)
    svi = SVI(models.hierarchy, guide, Adam({"lr": 0.01}), elbo)
    for _ in range(120):
        svi.step()
    after, other_error = elbo_of(guide, models.hierarchy)
    assert after > before + 4 * math.hypot(error, other_error)
    for one, two in zip(frame, guide.get_transform().layers[-1].parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_same_seed_gives_the_same_start():
    def scale(seed):
        return fk.warm_start(fk.AutoIAF(models.hierarchy, **TINY), seed=seed).gaussian.scale

    np.testing.assert_array_equal(scale(3), scale(3))


def test_global_random_states_and_the_parameter_store_stay_as_they_were():
    pyro.param("mine", torch.ones(2))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    fk.warm_start(fk.AutoIAF(models.hierarchy, **TINY))
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert list(pyro.get_param_store().keys()) == ["mine"]


def test_two_guides_of_one_name_do_not_disturb_each_other():
    one, two = (fk.AutoIAF(models.regression, **TINY) for _ in range(2))
    fk.warm_start(one)
    before = [p.clone() for p in one.parameters()]
    other = fk.AutoIAF(models.hierarchy, **TINY)
    fk.warm_start(two)
    fk.warm_start(other)
    assert all(map(torch.equal, before, one.parameters()))
    assert (one.latent_dim, other.latent_dim) == (2, 5)
    assert has_frame(other.get_transform())


def test_a_store_that_holds_another_guides_weights_is_no_obstacle():
    old = fk.AutoIAF(models.hierarchy, **TINY)
    SVI(models.hierarchy, old, Adam({"lr": 0.01}), Trace_ELBO()).step()
    start = fk.warm_start(fk.AutoIAF(models.regression, **TINY))
    np.testing.assert_allclose(start.gaussian.loc, models.regression_posterior()[0], atol=1e-5)


def test_a_second_warm_start_leaves_the_guide_where_it_is():
    guide = fk.AutoIAF(models.regression, **TINY)
    one = fk.warm_start(guide)
    two = fk.warm_start(guide, seed=1)
    np.testing.assert_allclose(one.gaussian.loc, two.gaussian.loc, atol=1e-5)
    assert abs(elbo_of(guide)[0] - evidence()) < 1e-3


def test_a_subsampled_plate_gives_a_start_from_some_rows():
    def model(data):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(data), subsample_size=10) as rows:
            pyro.sample("y", dist.Normal(x, 1.0), obs=data[rows])

    data = torch.linspace(0.0, 4.0, 40)
    start = fk.warm_start(fk.AutoIAF(model, **TINY), data)
    assert start.gaussian.sds[0] == pytest.approx(1 / math.sqrt(41), rel=1e-4)
    # The mean of 10 of 40 rows of standard deviation 1.17 is off by 0.32.
    assert abs(start.gaussian.loc[0] - 2.0) < 1.3


def test_a_model_that_does_not_broadcast_is_evaluated_point_by_point_and_said_so():
    def branching():
        x = pyro.sample("x", dist.Normal(3.0, 1.0))
        scale = 1.0 if x > 0 else 2.0
        pyro.sample("y", dist.Normal(x, scale), obs=torch.tensor(5.0))

    with pytest.warns(UserWarning, match="does not broadcast .* one by one"):
        start = fk.warm_start(fk.AutoIAF(branching, **TINY), num_starts=1)
    assert start.gaussian.loc[0] == pytest.approx(4.0, abs=1e-4)
    assert start.gaussian.sds[0] == pytest.approx(math.sqrt(0.5), abs=1e-4)


def test_above_128_latents_the_frame_is_diagonal(monkeypatch):
    monkeypatch.setattr(mean_field, "NUM_STEPS", 200)

    def wide():
        pyro.sample("x", dist.Normal(torch.arange(130.0), 0.1).to_event(1))

    guide = fk.AutoRealNVP(wide, **TINY)
    start = fk.warm_start(guide, num_starts=1)
    assert start.gaussian.scale.shape == (130,)
    np.testing.assert_allclose(start.gaussian.loc, np.arange(130), atol=0.02)
