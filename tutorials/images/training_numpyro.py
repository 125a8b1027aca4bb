"""Fits in NumPyro: an epoch is one compiled scan, with noise drawn anew; then what is measured."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import numpyro_flowkit as fk
from tutorials.images import outcome
from tutorials.images.data import NUM_LEVELS
from tutorials.images.models import DIM, spec_of


def run(model, digits, settings):
    """Fit and measure a model: an `Outcome`."""
    began = time.perf_counter()
    keys = dict(zip(KEYS, jax.random.split(jax.random.key(settings.seed), len(KEYS)), strict=True))
    flow = fk.FlowInit(spec_of(model, settings))(keys["weights"])
    flow = fk.start_from_data(flow, *_data(flow, digits.train, keys["start"]))
    flow, curve = train(flow, digits, settings, keys["train"])
    seconds = time.perf_counter() - began
    noises = jax.random.split(keys["held_out"], settings.noises)
    measured = jax.jit(lambda key: _bits(flow, *_data(flow, digits.held_out, key)))
    return outcome.Outcome(
        model,
        num_parameters=flow.spec.num_parameters,
        bits=np.mean([measured(key) for key in noises], 0, dtype=np.float64),
        drawn=np.asarray(_drawn(flow, keys["draw"])),
        ways=None if flow.context_dim else np.asarray(_ways(flow, digits.held_out, keys["ways"])),
        curve=curve,
        seconds=seconds,
    )


KEYS = ("weights", "start", "train", "held_out", "draw", "ways")


def train(flow, digits, settings, key):
    """The flow at the best of its epochs, and validation bits at each look."""
    steps = settings.steps(len(digits.train))
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.epochs * steps)
    optimiser = optax.chain(optax.clip_by_global_norm(settings.max_grad_norm), optax.adam(rate))

    def loss(flow, x, context):
        return _bits(flow, x, context).mean()

    @jax.jit
    def epoch(flow, state, key):
        of_order, of_noise = jax.random.split(key)
        x, context = _data(flow, digits.train, of_noise)
        order = jax.random.permutation(of_order, len(x))[: steps * settings.batch_size]

        def step(carry, rows):
            flow, state = carry
            given = None if context is None else context[rows]
            updates, state = optimiser.update(jax.grad(loss)(flow, x[rows], given), state)
            return (optax.apply_updates(flow, updates), state), None

        carry, _ = lax.scan(step, (flow, state), order.reshape(steps, -1))
        return carry

    validation = jax.jit(lambda flow, key: loss(flow, *_data(flow, digits.validation, key)))
    state, best, curve = optimiser.init(flow), (np.inf, flow), []
    for number in range(1, settings.epochs + 1):
        of_epoch, of_look = jax.random.split(jax.random.fold_in(key, number))
        flow, state = epoch(flow, state, of_epoch)
        if number % settings.check_every == 0 or number == settings.epochs:
            found = float(validation(flow, of_look))
            curve.append((number, found))
            best = min(best, (found, flow), key=lambda pair: pair[0])
    return best[1], curve


def _data(flow, part, key):
    """Images in [0, 1) with noise of their own, and the classes for a flow that is told them."""
    x = fk.dequantise(part.levels, NUM_LEVELS, rng_key=key)
    return x, jnp.asarray(part.classes) if flow.context_dim else None


def _bits(flow, x, context):
    log_prob = fk.FlowDistribution(flow, context=context).log_prob(x)
    return fk.bits_per_dim(log_prob, DIM, NUM_LEVELS)


def _drawn(flow, key):
    if flow.context_dim:
        context = jnp.asarray(outcome.classes_to_draw())
        return fk.FlowDistribution(flow, context=context).sample(key)
    return fk.FlowDistribution(flow).sample(key, (outcome.NUM_DRAWN,))


def _ways(flow, held_out, key):
    x, _ = _data(flow, held_out, key)
    first, last = (np.asarray(flow.inv(x[jnp.array(rows)])) for rows in outcome.ends(held_out))
    return flow(jnp.asarray(outcome.ways_between(first, last)))
