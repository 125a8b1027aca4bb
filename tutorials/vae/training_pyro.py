"""Training in Pyro: SVI in minibatches, with a rate that falls from epoch to epoch."""

import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import ExponentialLR

from pyro_flowkit import kl_weight

VALIDATION_PARTICLES = 10


def train(vae, images, settings):
    """Fit a VAE in place to the best of its epochs; returns validation ELBOs at each look.

    Parameters are in Pyro's store, those of the VampPrior there alone: call this and what uses
    the VAE in one scope of the store.
    """
    device = settings.device
    greys = torch.from_numpy(images.brightness).to(device)
    validation = torch.from_numpy(images.validation).to(device)
    size = min(settings.batch_size, len(greys))
    optimiser = ExponentialLR({
        "optimizer": torch.optim.AdamW,
        "optim_args": {"lr": settings.learning_rate, "weight_decay": settings.weight_decay},
        "gamma": settings.decay(),
    })  # fmt: skip
    svi = SVI(weighted(vae.model), weighted(vae.guide), optimiser, Trace_ELBO())
    validating = Trace_ELBO(num_particles=VALIDATION_PARTICLES)
    best, curve = None, []
    for number in range(settings.epochs):
        weight = settings.kl_weight(number)
        order = torch.randperm(len(greys), device=device)
        for rows in order[: len(greys) // size * size].split(size):
            svi.step(torch.bernoulli(greys[rows]), weight)
        optimiser.step()
        if (number + 1) % settings.check_every == 0 or number + 1 == settings.epochs:
            with torch.no_grad():
                loss = validating.loss(vae.model, vae.guide, validation)
            elbo = -loss / len(validation)
            if best is None or elbo > max(found for _, found in curve):
                best = _copies()
            curve.append((number + 1, elbo))
    _put_back(best)
    return curve


def weighted(part):
    """A model or a guide of which the KL counts as often as its second argument says."""
    return lambda x, weight: kl_weight(part, weight)(x)


def _copies():
    named = pyro.get_param_store().named_parameters()
    return {name: parameter.detach().clone() for name, parameter in named}


def _put_back(copies):
    with torch.no_grad():
        for name, parameter in pyro.get_param_store().named_parameters():
            parameter.copy_(copies[name])
