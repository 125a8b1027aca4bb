"""Training in NumPyro: an epoch is one compiled scan over its minibatches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from numpyro.infer import SVI, Trace_ELBO

from numpyro_flowkit import kl_weight

VALIDATION_PARTICLES = 10


def train(vae, images, settings):
    """Fit a VAE; returns the best parameters, and the ELBO of validation images at each look."""
    steps = max(1, len(images.brightness) // settings.batch_size)
    size = min(settings.batch_size, len(images.brightness))
    rate = optax.exponential_decay(settings.learning_rate, steps, settings.decay(), staircase=True)
    optimiser = optax.adamw(rate, weight_decay=settings.weight_decay)
    svi = SVI(weighted(vae.model), weighted(vae.guide), optimiser, Trace_ELBO())
    validating = Trace_ELBO(num_particles=VALIDATION_PARTICLES)
    greys, validation = jnp.asarray(images.brightness), jnp.asarray(images.validation)

    @jax.jit
    def epoch(state, key, weight):
        of_order, of_pixels = jax.random.split(key)
        rows = jax.random.permutation(of_order, len(greys))[: steps * size].reshape(steps, size)

        def step(state, batch):
            rows, pixel_key = batch
            x = jax.random.bernoulli(pixel_key, greys[rows]).astype(greys.dtype)
            return svi.update(state, x, weight)

        return lax.scan(step, state, (rows, jax.random.split(of_pixels, steps)))

    @jax.jit
    def elbo(state, key):
        params = svi.get_params(state)
        loss = validating.loss(key, params, vae.model, vae.guide, validation)
        return params, -loss / len(validation)

    of_start, of_epochs, of_looks = jax.random.split(jax.random.key(settings.seed), 3)
    state = jax.jit(svi.init)(of_start, greys[:size], 1.0)
    best, curve = (-np.inf, None), []
    for number in range(settings.epochs):
        key = jax.random.fold_in(of_epochs, number)
        state, _ = epoch(state, key, settings.kl_weight(number))
        if (number + 1) % settings.check_every == 0 or number + 1 == settings.epochs:
            params, found = elbo(state, jax.random.fold_in(of_looks, number))
            curve.append((number + 1, float(found)))
            if float(found) > best[0] or best[1] is None:
                best = float(found), params
    return best[1], curve


def weighted(part):
    """A model or a guide of which the KL counts as often as its second argument says."""
    return lambda x, weight: kl_weight(part, weight)(x)
