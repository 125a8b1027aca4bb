"""Density estimation in NumPyro."""

import jax
import numpy as np

from numpyro_flowkit import FlowDistribution, fit_density, maf, realnvp

FLOWS = {
    "MAF": lambda dim: maf(dim, num_layers=3, hidden_dims=(64,), mixing="lu", activation="tanh"),
    "RealNVP": lambda dim: realnvp(
        dim, num_layers=6, hidden_dims=(64,), mixing="lu", activation="tanh"
    ),
}


def fit(name, train, held_out):
    """The fit, the log-density of the held-out rows, and as many samples as training rows."""
    flow = FLOWS[name](train.shape[1])
    result = fit_density(
        flow, train, validation=0.15, batch_size=64, num_epochs=150, patience=25, progress=False
    )
    density = FlowDistribution(result.flow)
    log_density = jax.jit(density.log_prob)(held_out)
    samples = density.sample(jax.random.key(0), (len(train),))
    return result, np.asarray(log_density), np.asarray(samples)
