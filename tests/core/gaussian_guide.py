"""A Normal guide of a standard Normal posterior: everything about it has a closed form."""

import math

import numpy as np

from flowkit_core.diagnostics import diagnose_draws


def gaussian(sd, *, n, seed=0, mean=0.0, log_evidence=0.0):
    """Draws of q = N(mean, sd^2) and their ratios to p = N(0, 1) times the evidence."""
    x = mean + sd * np.random.default_rng(seed).normal(size=n)
    log_ratios = log_evidence - x**2 / 2 + ((x - mean) / sd) ** 2 / 2 + math.log(sd)
    return diagnose_draws(log_ratios, {"x": x})
