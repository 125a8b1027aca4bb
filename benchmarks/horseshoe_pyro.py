"""The horseshoe in Pyro."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch

import pyro_flowkit
from benchmarks.horseshoe import SLAB_FREEDOM, SLAB_SCALE


def model(x, y, tau_scale):
    rows, dim = x.shape
    tau = pyro.sample("tau", dist.HalfCauchy(tau_scale))
    half = SLAB_FREEDOM / 2
    slab = pyro.sample("slab", dist.InverseGamma(half, half * SLAB_SCALE**2))
    with pyro.plate("coefficients", dim):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        local = pyro.sample("local", dist.HalfCauchy(1.0))
    logits = coefficients(z, local, tau, slab) @ x.T
    with pyro.plate("rows", rows):
        pyro.sample("y", dist.Bernoulli(logits=logits), obs=y)


def coefficients(z, local, tau, slab):
    spread = tau * local
    return z * spread / (1 + spread.square() / slab).sqrt()


def fit(guide, data, num_draws, **settings):
    """The fit's result and draws of the coefficients, (num_draws, dim).

    Args:
        guide: name and arguments of a flow guide.
        data: `benchmarks.horseshoe.Sparse`.
        num_draws: of the fitted guide.
        settings: of `fit_guide`.
    """
    name, arguments = guide
    made = getattr(pyro_flowkit, name)(model, **arguments)
    given = torch.from_numpy(data.x), torch.from_numpy(data.y), data.tau_scale
    result = pyro_flowkit.fit_guide(model, made, *given, progress=False, **settings)
    torch.manual_seed(1)
    with torch.no_grad():
        draws = made.sample_posterior(num_draws)
        parts = (draws[site].reshape(num_draws, -1) for site in ("z", "local", "tau", "slab"))
        return result, np.asarray(coefficients(*parts).numpy(), np.float64)
