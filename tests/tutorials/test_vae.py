"""The VAE tutorial in a tiny setting: every variant runs, and says what it should."""

from dataclasses import replace

import jax
import numpy as np
import pyro
import pytest
import torch
from numpyro import handlers
from pyro import poutine

import numpyro_flowkit
import pyro_flowkit
from flowkit_core.surgery import (
    Estimate,
    LatentSurgery,
    PriorFitResult,
    log_mean_weights,
    surgery_of_terms,
)
from numpyro_flowkit.surgery.importance_log_likelihood_of import (
    log_likelihoods_of as numpyro_bounds,
)
from pyro_flowkit.surgery.importance_log_likelihood_of import (
    log_likelihoods_of as pyro_bounds,
)
from tutorials.vae import (
    data,
    measure_numpyro,
    measure_pyro,
    model_numpyro,
    model_pyro,
    pictures,
    table,
    training_numpyro,
    training_pyro,
)
from tutorials.vae.outcome import Outcome
from tutorials.vae.settings import VARIANTS, Settings

TINY = Settings(
    latents=2, hidden=8, flow_hidden=(8,), maf_layers=1, realnvp_layers=2, iaf_layers=1, context=2,
    pseudo_inputs=5, epochs=2, batch_size=40, warm_up=1, check_every=1, particles=5,
    prior_epochs=1,
)  # fmt: skip
BOUNDS = {"latent": "z", "batch_size": 512, "num_particles": 50}
MEASURES = {"pyro": measure_pyro, "numpyro": measure_numpyro}
# In the default run the two variants that between them go through most of the code.
QUICK = {("pyro", "standard"), ("pyro", "maf"), ("numpyro", "standard")}


def subset(images, train=80, others=12):
    """The first images of each part."""
    return replace(
        images, brightness=images.brightness[:train], train=images.train[:train],
        validation=images.validation[:others], held_out=images.held_out[:others],
        labels=images.labels[:train],
    )  # fmt: skip


@pytest.fixture(scope="module")
def images():
    return subset(data.digits())


@pytest.mark.parametrize(
    ("wing", "variant"),
    [
        pytest.param(wing, name, marks=() if (wing, name) in QUICK else pytest.mark.slow)
        for wing in MEASURES
        for name in VARIANTS
    ],
)
def test_a_variant_is_trained_and_measured(wing, variant, images):
    found = MEASURES[wing].run(variant, images, TINY)
    assert found.variant == variant
    assert found.bounds.shape == (12,)
    assert found.prior_draws.shape == found.posterior_draws.shape == (20_000, 2)
    assert found.drawn.shape == (16, 64)
    assert (found.drawn >= 0).all()
    assert (found.drawn <= 1).all()
    numbers = [found.bounds, found.train.elbo.value, found.held_out.reconstruction.value]
    assert all(np.isfinite(number).all() for number in numbers)
    # The bound by several weights is above the ELBO, and both are those of 64 pixels.
    assert -80 < found.train.elbo.value < -20
    assert found.log_likelihood.value > found.held_out.elbo.value - 0.5
    assert [epoch for epoch, _ in found.curve] == [1, 2]
    assert (found.train.num_data, found.held_out.num_data) == (80, 12)
    assert (found.prior_fit is not None) == (found.latents is not None) == (variant == "standard")


@pytest.mark.parametrize("wing", MEASURES)
def test_the_warm_up_scales_the_kl_alone(wing, images):
    x = images.held_out
    if wing == "pyro":
        vae = model_pyro.Vae("maf", images, TINY)
        with pyro.get_param_store().scope():
            sites = [
                poutine.trace(training_pyro.weighted(part)).get_trace(torch.from_numpy(x), 0.5)
                for part in (vae.model, vae.guide)
            ]
        of_model, of_guide = (trace.nodes for trace in sites)
    else:
        vae = model_numpyro.Vae("standard", images, TINY)
        of_model, of_guide = (
            handlers.trace(
                handlers.seed(training_numpyro.weighted(part), jax.random.key(0))
            ).get_trace(x, 0.5)
            for part in (vae.model, vae.guide)
        )
    assert of_model["z"]["scale"] == of_guide["z"]["scale"] == 0.5
    assert of_model["x"]["scale"] in (None, 1.0)
    assert [TINY.kl_weight(epoch) for epoch in range(3)] == [0.5, 1.0, 1.0]


def test_a_run_leaves_pyro_as_it_was(images):
    pyro.clear_param_store()
    pyro.param("mine", torch.zeros(1))
    state = torch.get_rng_state()
    first = measure_pyro.run("maf", images, TINY)
    assert list(pyro.get_param_store()) == ["mine"]
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(measure_pyro.run("maf", images, TINY).bounds, first.bounds)
    pyro.clear_param_store()


def linear(wing):
    """A model whose evidence is known, and a guide that is wrong."""
    if wing == "pyro":
        import pyro as ppl
        import pyro.distributions as dist

        zeros = torch.zeros(2)
    else:
        import numpyro as ppl
        import numpyro.distributions as dist

        zeros = np.zeros(2)

    def model(x):
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", dist.Normal(zeros, 1.0).to_event(1))
            ppl.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with ppl.plate("data", len(x)):
            ppl.sample("z", dist.Normal(x / 2, 0.9).to_event(1))

    return model, guide


@pytest.mark.parametrize("wing", MEASURES)
def test_bounds_of_each_image_average_to_what_the_library_gives(wing, rng):
    x = (2**0.5 * rng.normal(size=(30, 2))).astype(np.float32)
    model, guide = linear(wing)
    if wing == "pyro":
        rows = torch.from_numpy(x)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            bounds = pyro_bounds(model, guide, rows, **BOUNDS)
            torch.manual_seed(0)
            whole = pyro_flowkit.importance_log_likelihood_of(model, guide, rows, num_particles=50)
    else:
        key = jax.random.key(0)
        bounds = numpyro_bounds(model, guide, {}, x, rng_key=key, **BOUNDS)
        whole = numpyro_flowkit.importance_log_likelihood_of(
            model, guide, {}, x, rng_key=key, num_particles=50
        )
    assert bounds.mean() == pytest.approx(whole.value, abs=1e-5)
    exact = -0.25 * (x**2).sum(1) - np.log(4 * np.pi)
    np.testing.assert_allclose(bounds, exact, atol=0.5)


def made_up(variant, gain=0.0, seed=0, count=80):
    """An outcome whose held-out bounds are above the standard one's by about so much."""
    hard = np.random.default_rng(7).normal(-22.0, 3.0, size=count)
    rng = np.random.default_rng(seed)
    own, aggregate = rng.normal(-2.0, 0.5, size=(2, 2, count))
    surgery = surgery_of_terms(
        own, aggregate - 0.5 + gain, aggregate=aggregate,
        log_likelihood=rng.normal(-20.0, 1.0, size=(2, count)),
        means=rng.normal(size=(count, 3)), draws=rng.normal(size=(count, 3)),
    )  # fmt: skip
    kl = Estimate(0.7, 0.1)
    is_standard = variant == "standard"
    return Outcome(
        variant=variant, bounds=hard + gain + rng.normal(0.0, 0.1, size=count), held_out=surgery,
        train=surgery, posterior_draws=rng.normal(size=(300, 3)),
        prior_draws=rng.normal(size=(300, 3)), drawn=rng.uniform(size=(16, 64)),
        curve=[(5, -23.0), (10, -22.0), (15, -22.5)], seconds=12.3,
        latents=LatentSurgery(kl, (kl,) * 3, (kl,) * 3, np.ones(3)) if is_standard else None,
        prior_fit=PriorFitResult(None, (1.0,), (), 0, "epochs", 0, Estimate(0.5, 0.02),
                                 Estimate(0.1, 0.02)) if is_standard else None,
    )  # fmt: skip


@pytest.fixture
def outcomes():
    gains = {"standard": 0.0, "vamp": 0.5, "maf": 0.3, "realnvp": 0.0, "iaf": 0.1}
    return {name: made_up(name, gain, seed) for seed, (name, gain) in enumerate(gains.items())}


def test_differences_are_paired(outcomes):
    standard, one = outcomes["standard"], outcomes["maf"]
    gain = one.gain_over(standard)
    assert gain.value == pytest.approx(0.3, abs=0.1)
    assert gain.stderr < 0.1 * one.log_likelihood.stderr
    assert standard.gain_over(standard) == Estimate(0.0, 0.0)
    assert one.kept == 10
    weights = np.array([[1.0, 1e-30], [3.0, 1e-30]])
    np.testing.assert_allclose(log_mean_weights(np.log(weights)), np.log([2.0, 1e-30]))


def test_the_table_says_what_holds_and_what_does_not(outcomes, images, capsys):
    table.introduce(images, TINY, "digits")
    assert "80 training images" in capsys.readouterr().out
    head = table.head("Pyro").strip("\n")
    assert head.startswith("Pyro ")
    rows = [table.row(one, outcomes["standard"]) for one in outcomes.values()]
    assert " - " in rows[0]
    lines = table.conclude(outcomes).splitlines()
    assert [row[:23].strip() for row in rows] == list(VARIANTS.values())
    assert {len(row) for row in (head, *rows)} == {len(head)}
    assert "MAF prior: beats the standard one, by 0." in lines[0]
    assert "the marginal KL falls" in lines[0]
    assert "RealNVP prior: does not beat" in lines[1]
    assert "does not fall" in lines[1]
    assert "0.500 +- 0.020 before, 0.100 +- 0.020 after" in lines[2]


def test_the_pictures(outcomes, images, tmp_path):
    paths = pictures.draw("Pyro", outcomes, images, tmp_path)
    assert [path.name for path in paths] == [
        f"vae-{name}-pyro.png" for name in ("surgery", "images", "posterior", "latents")
    ]
    assert all(path.stat().st_size > 5000 for path in paths)
