"""Fits and their figures in Pyro."""

import time

import pyro
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, autoguide
from pyro.optim import CosineAnnealingLR

from benchmarks.quality.budget import PEER_PARTICLES, PEER_RATES
from benchmarks.quality.deterministic_pyro import with_deterministic
from benchmarks.quality.scoring import score
from flowkit_core.diagnostics import diagnose_draws
from pyro_flowkit import AutoIAF
from pyro_flowkit.guides import diagnose, fit_guide

_DRAWS_SEED = 1_000_003


def prepare(dtype):
    """Set the precision and use one thread."""
    torch.set_num_threads(1)
    torch.set_default_dtype(getattr(torch, dtype))


def measure_ours(model, problem, cell, budget):
    """Fit `AutoIAF` with default settings and score its draws."""
    guide = cell.our_guide(AutoIAF, model)
    result = fit_guide(
        model, guide, *problem.args, seed=cell.seed, num_steps=budget.num_steps, progress=False
    )
    generator = torch.Generator().manual_seed(_DRAWS_SEED + cell.seed)
    found = diagnose(guide, *problem.args, num_samples=budget.num_draws, generator=generator)
    draws = with_deterministic(model, problem.args, found.draws, problem.sites)
    return result, score(found, draws, problem)


def measure_peer(model, problem, cell, budget):
    """Fit one of Pyro's guides and score its importance ratios; seconds and figures."""
    pyro.set_rng_seed(cell.seed)
    guide = getattr(autoguide, cell.guide)(model)
    first, last = PEER_RATES
    scheduler = CosineAnnealingLR(
        {"optimizer": torch.optim.Adam, "optim_args": {"lr": first}, "T_max": budget.num_steps,
         "eta_min": last}
    )  # fmt: skip
    elbo = Trace_ELBO(num_particles=PEER_PARTICLES, vectorize_particles=True)
    svi = SVI(model, guide, scheduler, elbo)
    began = time.monotonic()
    for _ in range(budget.num_steps):
        svi.step(*problem.args)
        scheduler.step()
    seconds = time.monotonic() - began
    pyro.set_rng_seed(_DRAWS_SEED + cell.seed)
    ratios = _log_ratios(model, guide, problem.args, budget.num_draws)
    return seconds, score(diagnose_draws(ratios, {}), None, problem)


def _log_ratios(model, guide, args, count):
    """``log p - log q`` of draws of any guide, all at once as Pyro's own ELBOs do it."""
    with torch.no_grad(), pyro.validation_enabled(False):
        depth = _depth(poutine.trace(model).get_trace(*args))
        with pyro.plate("_draws", count, dim=-1 - depth):
            guide_trace = poutine.trace(guide).get_trace(*args)
            replayed = poutine.replay(model, trace=guide_trace)
            model_trace = poutine.trace(replayed).get_trace(*args)
        return _log_density(model_trace, count) - _log_density(guide_trace, count)


def _depth(trace):
    """How many dimensions the plates of a model take."""
    frames = (f for s in trace.nodes.values() for f in s.get("cond_indep_stack", ()))
    return max((-frame.dim for frame in frames if frame.dim is not None), default=0)


def _log_density(trace, count):
    """Of each draw, summed over the sites; a site that no draw reaches is the same for all."""
    trace.compute_log_prob()
    total = torch.zeros(count, dtype=torch.float64)
    for site in trace.nodes.values():
        if site["type"] == "sample":
            log_prob = site["log_prob"].double()
            rows = log_prob.reshape(len(log_prob), -1) if log_prob.dim() else log_prob[None, None]
            total += rows.sum(-1)
    return total.numpy()
