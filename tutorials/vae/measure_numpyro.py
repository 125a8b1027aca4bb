"""What is measured of a VAE that NumPyro has trained."""

import time
from dataclasses import replace

import jax
import numpy as np
from numpyro import handlers

from numpyro_flowkit import elbo_surgery_of, fit_prior, latent_surgery, maf
from numpyro_flowkit.surgery.importance_log_likelihood_of import log_likelihoods_of
from tutorials.vae.model_numpyro import Vae
from tutorials.vae.outcome import (
    NUM_DECODED,
    NUM_DRAWS,
    Outcome,
    draws_of_each,
)
from tutorials.vae.training_numpyro import train

BATCH = 512


def run(variant, images, settings):
    """Train a variant and measure it."""
    began = time.perf_counter()
    vae = Vae(variant, images, settings)
    params, curve = train(vae, images, settings)
    jax.block_until_ready(params)
    seconds = time.perf_counter() - began
    keys = jax.random.split(jax.random.key(settings.seed + 1), 7)
    rows = images.train[: settings.surgery_images]
    model_guide = vae.model, vae.guide, params
    surgery = {"num_samples": settings.draws, "batch_size": BATCH}
    bounds = {"latent": "z", "batch_size": BATCH, "num_particles": settings.particles}
    with handlers.seed(rng_seed=keys[0]), handlers.substitute(data=params):
        prior, encode = vae.prior(), vae.encoder()
    z = prior.sample(keys[1], (NUM_DRAWS,))
    of_data = encode(rows).sample(keys[6], (draws_of_each(rows),))
    latents = prior_fit = None
    if variant == "standard":
        latents = latent_surgery(
            encode(rows), prior, rng_key=keys[2], num_samples=settings.draws
        )  # fmt: skip
        prior_fit = _better_prior(encode(rows), prior, settings)
    return Outcome(
        variant=variant,
        bounds=log_likelihoods_of(*model_guide, images.held_out, rng_key=keys[3], **bounds),
        held_out=elbo_surgery_of(*model_guide, images.held_out, rng_key=keys[4], **surgery),
        train=elbo_surgery_of(*model_guide, rows, rng_key=keys[5], **surgery),
        posterior_draws=np.asarray(of_data).reshape(-1, settings.latents),
        prior_draws=np.asarray(z),
        drawn=np.asarray(vae.decode(params, z[:NUM_DECODED])),
        curve=curve,
        seconds=seconds,
        latents=latents,
        prior_fit=prior_fit,
    )


def _better_prior(posterior, prior, settings):
    """The prior that the trained VAE should have had: encoder and decoder stay as they are."""
    flow = maf(settings.latents, num_layers=settings.maf_layers, hidden_dims=settings.flow_hidden)
    fit = fit_prior(
        flow, posterior, prior, num_epochs=settings.prior_epochs, seed=settings.seed,
        progress=False,
    )  # fmt: skip
    return replace(fit, flow=None)  # only its figures are reported
