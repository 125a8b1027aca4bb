"""Fits and their figures in NumPyro."""

import time

import jax
import numpy as np
import numpyro
import optax
from numpyro.infer import SVI, Trace_ELBO, autoguide
from numpyro.optim import optax_to_numpyro

from benchmarks.quality.budget import PEER_PARTICLES, PEER_RATES
from benchmarks.quality.scoring import score
from flowkit_core.diagnostics import diagnose_draws
from numpyro_flowkit import AutoIAF
from numpyro_flowkit.guides import diagnose, fit_guide

_DRAWS_SEED = 1_000_003
_CHUNK = 500


def prepare(dtype):
    """Set the precision; to be called before anything is computed."""
    jax.config.update("jax_enable_x64", dtype == "float64")


def measure_ours(model, problem, cell, budget):
    """Fit `AutoIAF` with default settings and score its draws."""
    guide = cell.our_guide(AutoIAF, model)
    result = fit_guide(
        model, guide, *problem.args, seed=cell.seed, num_steps=budget.num_steps, progress=False
    )
    found = diagnose(
        guide, result.params, *problem.args, rng_key=_draws_key(cell),
        num_samples=budget.num_draws,
    )  # fmt: skip
    return result, score(found, found.draws, problem)


def measure_peer(model, problem, cell, budget):
    """Fit one of NumPyro's guides and score its importance ratios; seconds and figures."""
    guide = getattr(autoguide, cell.guide)(model)
    first, last = PEER_RATES
    rate = optax.cosine_decay_schedule(first, budget.num_steps, alpha=last / first)
    optimizer = optax_to_numpyro(optax.adam(rate))
    svi = SVI(model, guide, optimizer, Trace_ELBO(num_particles=PEER_PARTICLES))
    began = time.monotonic()
    key = jax.random.key(cell.seed)
    params = svi.run(key, budget.num_steps, *problem.args, progress_bar=False).params
    seconds = time.monotonic() - began
    ratios = _log_ratios(model, guide, params, problem.args, _draws_key(cell), budget.num_draws)
    return seconds, score(diagnose_draws(ratios, {}), None, problem)


def _log_ratios(model, guide, params, args, key, count):
    """``log p - log q`` of draws of any guide: the ELBO of a single particle is just that."""
    elbo = Trace_ELBO()

    @jax.jit
    def evaluate(params, keys):
        with numpyro.validation_enabled(False):
            loss = jax.vmap(lambda key: elbo.loss(key, params, model, guide, *args))(keys)
        return -loss

    keys = jax.random.split(key, count).reshape(-1, min(count, _CHUNK))
    return np.concatenate([np.asarray(evaluate(params, part), np.float64) for part in keys])


def _draws_key(cell):
    return jax.random.key(_DRAWS_SEED + cell.seed)
