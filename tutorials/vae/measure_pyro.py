"""What is measured of a VAE that Pyro has trained."""

import time
from dataclasses import replace

import pyro
import torch

from pyro_flowkit import elbo_surgery_of, fit_prior, latent_surgery, maf
from pyro_flowkit.surgery.importance_log_likelihood_of import log_likelihoods_of
from tutorials.vae.model_pyro import Vae
from tutorials.vae.outcome import (
    NUM_DECODED,
    NUM_DRAWS,
    Outcome,
    draws_of_each,
)
from tutorials.vae.training_pyro import train

BATCH = 512


def run(variant, images, settings):
    """Train a variant and measure it; Pyro's store and torch's generator are left as they were."""
    with pyro.get_param_store().scope(), torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        began = time.perf_counter()
        vae = Vae(variant, images, settings).to(settings.device)
        curve = train(vae, images, settings)
        seconds = time.perf_counter() - began
        return _measured(vae, images, settings, curve, seconds)


@torch.no_grad()
def _measured(vae, images, settings, curve, seconds):
    rows, held_out = (
        torch.from_numpy(part).to(settings.device)
        for part in (images.train[: settings.surgery_images], images.held_out)
    )
    surgery = {"num_samples": settings.draws, "batch_size": BATCH}
    bounds = {"latent": "z", "batch_size": BATCH, "num_particles": settings.particles}
    prior = vae.prior()
    z = prior.sample((NUM_DRAWS,))
    of_data = vae.encode(rows).sample((draws_of_each(rows),))
    latents = prior_fit = None
    if vae.variant == "standard":
        latents = latent_surgery(vae.encode(rows), prior, num_samples=settings.draws)
        prior_fit = _better_prior(vae.encode(rows), prior, settings)
    return Outcome(
        variant=vae.variant,
        bounds=log_likelihoods_of(vae.model, vae.guide, held_out, **bounds),
        held_out=elbo_surgery_of(vae.model, vae.guide, held_out, **surgery),
        train=elbo_surgery_of(vae.model, vae.guide, rows, **surgery),
        posterior_draws=of_data.reshape(-1, settings.latents).cpu().numpy(),
        prior_draws=z.cpu().numpy(),
        drawn=torch.sigmoid(vae.decoder(z[:NUM_DECODED])).cpu().numpy(),
        curve=curve,
        seconds=seconds,
        latents=latents,
        prior_fit=prior_fit,
    )


def _better_prior(posterior, prior, settings):
    """The prior that the trained VAE should have had: encoder and decoder stay as they are."""
    flow = maf(
        settings.latents, num_layers=settings.maf_layers, hidden_dims=settings.flow_hidden,
        seed=settings.seed,
    )  # fmt: skip
    with torch.enable_grad():
        fit = fit_prior(
            flow.to(settings.device), posterior, prior, num_epochs=settings.prior_epochs,
            seed=settings.seed, progress=False,
        )  # fmt: skip
    return replace(fit, flow=None)  # only its figures are reported
