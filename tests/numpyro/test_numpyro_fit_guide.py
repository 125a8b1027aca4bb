"""Fits of NumPyro's guides: how near they come, what they touch, and that they can be resumed."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.scipy.stats import norm
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoGuideList,
    AutoMultivariateNormal,
    AutoNormal,
)
from numpyro.optim import Adam

import numpyro_flowkit as fk
from flowkit_core import CheckpointError
from flowkit_core.fitting import GuideFitSettings, Window
from numpyro_flowkit.guides import guide_trainer
from numpyro_flowkit.guides.guide_trainer import GuideTrainer
from tests.numpyro import models
from tests.numpyro.models import assert_same_leaves

# Older versions of JAX have it elsewhere.
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

TINY = {"num_layers": 1, "hidden_dims": (8,), "base": "normal"}
SHORT = {"num_steps": 60, "num_particles": 4, "num_starts": 1, "progress": False}


def fitted(model=models.regression, kind=fk.AutoIAF, guide=None, **settings):
    guide = kind(model, **TINY) if guide is None else guide
    return guide, fk.fit_guide(model, guide, **{**SHORT, **settings})


@pytest.fixture(scope="module")
def short():
    """A short fit of the regression."""
    return fitted(seed=3)


def test_a_linear_regression_reaches_its_evidence(short):
    guide, result = short
    exact = models.regression_evidence()
    assert abs(result.elbo - exact) < 4 * result.elbo_stderr + 1e-3
    assert abs(result.warm_start.elbo - exact) < 4 * result.warm_start.elbo_stderr
    draws = guide.sample_posterior(jax.random.key(0), result.params, sample_shape=(4000,))
    mean, covariance = models.regression_posterior()
    errors = np.sqrt(np.diagonal(covariance) / 4000)
    assert (np.abs(draws["weights"].mean(0) - mean) < 5 * errors + 0.02).all()


def test_without_a_warm_start_it_gets_there_too():
    _, result = fitted(kind=fk.AutoRealNVP, warm_start=None, num_steps=600, learning_rate=0.02)
    assert abs(result.elbo - models.regression_evidence()) < 4 * result.elbo_stderr + 0.02
    assert result.warm_start is None


def constrained():
    """Beta and Gamma posteriors, neither of them Normal in any coordinates."""
    share = numpyro.sample("share", dist.Beta(2.0, 3.0))
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    numpyro.sample("successes", dist.Binomial(10, share), obs=7)
    numpyro.sample("count", dist.Poisson(rate), obs=3)


def constrained_evidence():
    betas = math.lgamma(9) + math.lgamma(6) - math.lgamma(15)
    prior = math.lgamma(2) + math.lgamma(3) - math.lgamma(5)
    gammas = math.lgamma(5) - math.lgamma(2) - 5 * math.log(2)
    return math.log(math.comb(10, 7)) + betas - prior + gammas - math.log(math.factorial(3))


@pytest.fixture(scope="module")
def found_constrained():
    return fitted(constrained, num_steps=600, learning_rate=0.01, num_particles=16)


@pytest.mark.slow
def test_beta_and_gamma_posteriors_reach_their_evidence_nearly(found_constrained):
    _, result = found_constrained
    gap = constrained_evidence() - result.elbo
    assert -4 * result.elbo_stderr < gap < 0.02 + 4 * result.elbo_stderr
    assert result.elbo > result.warm_start.elbo - 3 * result.warm_start.elbo_stderr
    assert (result.stopped in ("converged", "steps"), result.falls) == (True, 0)
    assert (result.num_steps, result.skipped_steps) == (len(result.losses), 0)


def test_the_phases_of_a_fit_can_be_drawn(found_constrained, tmp_path):
    result = found_constrained[1]
    figure = result.plot(tmp_path / "elbo.png")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[:3] == ["total", "path", "decay"]
    assert (tmp_path / "elbo.png").exists()


def test_a_second_fit_goes_on_from_the_first(found_constrained):
    guide, first = found_constrained
    _, second = fitted(constrained, guide=guide, num_steps=50, learning_rate=1e-4, seed=5,
                       params=first.params)  # fmt: skip
    assert second.warm_start is None
    assert abs(second.windows[0].median + first.elbo) < 5 * second.windows[0].error + 0.05
    assert abs(second.elbo - first.elbo) < 5 * math.hypot(first.elbo_stderr, second.elbo_stderr)


def test_svi_goes_on_from_the_parameters(found_constrained):
    guide, result = found_constrained
    svi = SVI(constrained, guide, Adam(1e-4), Trace_ELBO(num_particles=100))
    found = svi.run(jax.random.key(0), 3, progress_bar=False, init_params=result.params)
    np.testing.assert_allclose(-found.losses, result.elbo, atol=0.1)


def same(one, two):
    (_, result), (_, other) = one, two
    assert result.losses == other.losses
    assert (result.elbo, result.elbo_stderr) == (other.elbo, other.elbo_stderr)
    assert (result.windows, result.stopped) == (other.windows, other.stopped)
    assert_same_leaves(result.params, other.params)


def test_the_same_seed_gives_the_same_fit_and_leaves_global_randomness_alone(short):
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    same(fitted(seed=3), short)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert fitted(seed=4)[1].losses != short[1].losses


def interrupt_after(monkeypatch, windows):
    """A KeyboardInterrupt in the window that follows so many whole ones."""
    real, done = GuideTrainer.run, []

    def run(self, window, *, seed):
        if len(done) == windows:
            part = Window(window.rates * 0.5, window.path_gradient, window.average)
            real(self, part, seed=seed)  # not to be found in the file
            raise KeyboardInterrupt
        done.append(1)
        return real(self, window, seed=seed)

    monkeypatch.setattr(guide_trainer.GuideTrainer, "run", run)


@pytest.mark.parametrize(("windows", "guide_is"), [(1, "new"), (5, "the same")])
def test_a_resumed_fit_equals_an_uninterrupted_one(monkeypatch, tmp_path, short, windows, guide_is):
    path = tmp_path / "fit"
    with monkeypatch.context() as patch:
        interrupt_after(patch, windows)
        guide, result = fitted(seed=3, checkpoint=path)
    assert (result.stopped, result.num_steps) == ("interrupted", len(result.losses))
    assert math.isfinite(result.elbo)
    result.plot()
    guide = None if guide_is == "new" else guide
    same(fitted(guide=guide, seed=3, checkpoint=path), short)


def test_a_checkpoint_of_other_settings_or_of_another_guide_is_refused(tmp_path):
    path = tmp_path / "fit"
    fitted(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"another fit; expected \{'seed': 1\}, got"):
        fitted(checkpoint=path, seed=1)
    with pytest.raises(ValueError, match="a fit of another guide"):
        fitted(models.one_latent, checkpoint=path)
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        fitted(checkpoint=path)


def test_a_models_own_parameters_are_trained_along():
    def hyper():  # the best prior scale is sqrt(3)
        scale = numpyro.param("scale", 1.0, constraint=dist.constraints.positive)
        x = numpyro.sample("x", dist.Normal(0.0, scale))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=2.0)

    _, result = fitted(hyper, num_steps=600, learning_rate=0.02, num_particles=16)
    assert float(result.params["scale"]) == pytest.approx(math.sqrt(3), rel=0.05)
    exact = float(norm.logpdf(2.0, 0.0, 2.0))
    assert abs(result.elbo - exact) < 4 * result.elbo_stderr + 0.01


class Bowl:
    """An objective without noise, but for what each particle is drawn for."""

    arrays = ()

    def constrain(self, params):
        return params

    unconstrain = constrain

    def elbos(self, params, key, num_particles, *, path_gradient, arrays):
        return jnp.full(num_particles, -(params["w"] ** 2).sum())


@pytest.mark.parametrize("chunk", [7, 3, 1, 100])
def test_chunks_add_up_to_the_same_gradient(chunk):
    settings = GuideFitSettings(1, 7, 0.1, 1e9, "auto", None, 1, 0)
    trainer = GuideTrainer(Bowl(), {"w": jnp.array([3.0, -2.0])}, settings, chunk)
    loss = trainer._loss(chunk, path_gradient=True)
    value, gradient = jax.value_and_grad(loss)(trainer._params, jax.random.key(0), [])
    np.testing.assert_allclose((value, *gradient), (13.0, 6.0, -4.0), rtol=1e-12)


def test_a_fit_in_chunks_reaches_the_evidence():
    _, result = fitted(chunk_size=3, gradient="total", warm_start="pathfinder")
    assert abs(result.elbo - models.regression_evidence()) < 4 * result.elbo_stderr + 1e-3


def mean_field_gap():
    """Nats that the best factorised Normal lacks of the regression's evidence."""
    precision = np.linalg.inv(models.regression_posterior()[1])
    return 0.5 * (np.log(np.diagonal(precision)).sum() - np.linalg.slogdet(precision)[1])


def pair():
    """Two latents that know nothing of each other."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    z = numpyro.sample("z", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=2.0)
    numpyro.sample("w", dist.Normal(z, 1.0), obs=0.0)


def listed(model):
    guides = AutoGuideList(model)
    guides.append(AutoNormal(handlers.block(model, hide=["z"]), prefix="one"))
    guides.append(AutoDiagonalNormal(handlers.block(model, hide=["x"]), prefix="two"))
    return guides


OTHERS = {
    "AutoMultivariateNormal": (AutoMultivariateNormal, models.regression, lambda: 0.0),
    "AutoNormal": (AutoNormal, models.regression, mean_field_gap),
    "AutoGuideList": (listed, pair, lambda: 0.0),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param("AutoMultivariateNormal", marks=pytest.mark.slow), "AutoNormal", "AutoGuideList"],
)
def test_other_guides_reach_the_best_that_they_can(name):
    make, model, gap = OTHERS[name]
    result = fitted(model, guide=make(model), num_steps=600, learning_rate=0.03,
                    num_particles=8)[1]  # fmt: skip
    exact = models.regression_evidence()
    if model is pair:
        exact = float(norm.logpdf(np.array([2.0, 0.0]), 0.0, 2**0.5).sum())
    assert abs(result.elbo - (exact - gap())) < 4 * result.elbo_stderr + 0.02
    assert result.warm_start is None
    assert {window.phase for window in result.windows} == {"total", "decay"}


def test_a_guide_by_hand_is_fitted():
    def guide():
        loc = numpyro.param("loc", 0.0)
        scale = numpyro.param("scale", 1.0, constraint=dist.constraints.positive)
        numpyro.sample("x", dist.Normal(loc, scale))

    result = fitted(models.one_latent, guide=guide, num_steps=400, learning_rate=0.03)[1]
    assert abs(result.elbo - norm.logpdf(1.0, 0.0, 2**0.5)) < 4 * result.elbo_stderr + 0.01
    assert float(result.params["scale"]) == pytest.approx(math.sqrt(0.5), rel=0.1)


@pytest.mark.slow
def test_minibatches_of_a_model_with_global_latents_lead_to_its_posterior():
    def model(data):
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", len(data), subsample_size=20) as rows:
            numpyro.sample("y", dist.Normal(x, 1.0), obs=data[rows])

    data = jnp.linspace(-1.0, 3.0, 60)
    guide = fk.AutoIAF(model, **TINY)
    settings = {**SHORT, "num_steps": 500, "learning_rate": 0.01}
    result = fk.fit_guide(model, guide, data, **settings)
    posterior = guide.get_posterior(result.params)
    draws = posterior.sample(jax.random.key(1), (4000,))[:, 0]
    mean, sd = float(data.sum()) / 61, 1 / math.sqrt(61)
    assert abs(float(draws.mean()) - mean) < 0.3 * sd
    assert float(draws.std()) == pytest.approx(sd, rel=0.15)


def test_arguments_reach_the_model():
    guide = fk.AutoIAF(models.regression, **TINY)
    result = fk.fit_guide(models.regression, guide, scale=2.0, gradient="path", **SHORT)
    assert abs(result.elbo - models.regression_evidence(2.0)) < 4 * result.elbo_stderr + 1e-3


def test_steps_without_a_finite_density_are_skipped_and_never_reach_the_weights():
    def cliff():
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        numpyro.factor("hole", jnp.where((x > 0.5) & (x < 0.6), jnp.nan, 0.0))

    guide = fk.AutoIAF(cliff, init_scale=1.0, **TINY)
    _, result = fitted(cliff, guide=guide, num_steps=100, warm_start=None, gradient="total")
    # Each of 4 particles falls into the hole with 3.5 %: 13 steps of 100, give or take 3.4.
    assert 1 < result.skipped_steps < 27
    assert np.isnan(result.losses).sum() == result.skipped_steps
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(result.params))


def test_in_float32_everything_stays_so():
    def single():
        x = numpyro.sample("x", dist.Normal(jnp.float32(0.0), jnp.float32(1.0)))
        numpyro.sample("y", dist.Normal(x, jnp.float32(1.0)), obs=jnp.float32(1.0))

    with enable_x64(False):
        _, result = fitted(single, gradient="path")
    assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {np.dtype(np.float32)}
    assert abs(result.elbo - norm.logpdf(1.0, 0.0, 2**0.5)) < 4 * result.elbo_stderr + 1e-3
