"""Eight schools in Pyro."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal

from flowkit_core.datasets import eight_schools
from pyro_flowkit import AutoIAF, AutoRealNVP

DATA = eight_schools()
Y, SIGMA = (torch.tensor(v, dtype=torch.float32) for v in (DATA.y, DATA.sigma))
STEPS, PARTICLES = 1500, 16


def model(centred):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(Y)):
        if centred:
            theta = pyro.sample("theta", dist.Normal(mu, tau))
        else:
            theta = mu + tau * pyro.sample("theta_std", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(theta, SIGMA), obs=Y)


GUIDES = {
    "mean field": lambda: AutoNormal(model),
    "AutoRealNVP": lambda: AutoRealNVP(model, num_layers=6, hidden_dims=(32, 32)),
    "AutoIAF": lambda: AutoIAF(model, num_layers=3, hidden_dims=(32, 32)),
}


def fit(guide_name, *, centred, num_draws):
    """ELBO, its standard error, and draws of mu and tau."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    guide = GUIDES[guide_name]()
    decay = 0.02 ** (1 / STEPS)  # from 1e-2 down to 2e-4
    optimizer = pyro.optim.ClippedAdam({"lr": 1e-2, "lrd": decay})
    loss = Trace_ELBO(num_particles=PARTICLES, vectorize_particles=True, max_plate_nesting=1)
    svi = SVI(model, guide, optimizer, loss)
    for _ in range(STEPS):
        svi.step(centred)
    evaluate = Trace_ELBO(num_particles=1000, vectorize_particles=True, max_plate_nesting=1)
    with torch.no_grad():
        elbos = [-evaluate.loss(model, guide, centred) for _ in range(num_draws // 1000)]
        with pyro.plate("draws", num_draws, dim=-2):
            values = guide(centred)
    draws = {name: values[name].numpy().ravel() for name in ("mu", "tau")}
    return np.mean(elbos), np.std(elbos, ddof=1) / len(elbos) ** 0.5, draws
