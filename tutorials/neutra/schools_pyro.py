"""Eight schools in Pyro: NUTS as it is, and through a flow."""

import time

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.reparam import NeuTraReparam

from flowkit_core.datasets import eight_schools
from pyro_flowkit import AutoIAF, fit_guide
from tutorials.neutra.runs import Run

DATA = eight_schools()
Y, SIGMA = (torch.tensor(v, dtype=torch.float32) for v in (DATA.y, DATA.sigma))


def centred():
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(Y)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, SIGMA), obs=Y)


def plain(length):
    """NUTS in the model's own coordinates."""
    chains = [_chain(centred, length, seed) for seed in range(length.chains)]
    return _run(chains, lambda chain: chain.draws)


def neutra(length):
    """Train, then NUTS in the warped space."""
    pyro.clear_param_store()
    # Drawing from an IAF takes one pass of its networks, and NUTS only ever goes from z to theta.
    guide = AutoIAF(centred, num_layers=3, hidden_dims=(32, 32))
    began = time.perf_counter()
    fit_guide(centred, guide, num_steps=length.fit_steps, progress=False)
    fit_seconds = time.perf_counter() - began
    guide.requires_grad_(False)  # NUTS wants gradients in z, not in the weights
    # Plates need no care: the handler replaces mu, tau and theta, plates and all, by one vector z
    # of ten coordinates, and computes the three from it.
    neutra = NeuTraReparam(guide)
    warped = neutra.reparam(centred)
    chains = [_chain(warped, length, seed) for seed in range(length.chains)]

    def back(chain):
        (z,) = chain.draws.values()
        return neutra.transform_sample(z[:, None])  # draws to the left of the plate

    z = np.stack([next(iter(chain.draws.values())).numpy() for chain in chains])
    return _run(chains, back, fit_seconds=fit_seconds, warped=z)


class _Chain:
    """One chain, its leapfrog steps and seconds counted from the end of the warmup.

    Pyro does not tell how many leapfrog steps it takes. Each evaluates the model once, and so
    do calls of the model while nothing is compiled (``jit_compile`` is off).
    """

    def __init__(self, model):
        self._model = model
        self._calls = 0
        self._marks = {}

    def __call__(self):
        self._calls += 1
        return self._model()

    def run(self, length, seed):
        pyro.set_rng_seed(seed)
        mcmc = MCMC(
            NUTS(self), length.draws, length.warmup, disable_progbar=True, hook_fn=self._mark
        )
        mcmc.run()
        self.draws = {name: value.detach() for name, value in mcmc.get_samples().items()}
        self.diverging = np.zeros(length.draws, bool)
        self.diverging[mcmc.diagnostics()["divergences"]["chain 0"]] = True

    def _mark(self, kernel, params, stage, i):
        self._marks[stage.split()[0]] = (self._calls, time.perf_counter())

    @property
    def cost(self):
        """Leapfrog steps and seconds of the draws that count."""
        (calls, began), (all_calls, ended) = self._marks["Warmup"], self._marks["Sample"]
        return all_calls - calls, ended - began


def _chain(model, length, seed):
    chain = _Chain(model)
    chain.run(length, seed)
    return chain


def _run(chains, sites, *, fit_seconds=0.0, warped=None):
    of_chain = [sites(chain) for chain in chains]

    def stacked(name, *shape):
        return np.stack([values[name].numpy().reshape(-1, *shape) for values in of_chain])

    leapfrogs, seconds = zip(*(chain.cost for chain in chains), strict=True)
    return Run(
        mu=stacked("mu"),
        log_tau=np.log(stacked("tau")),
        theta=stacked("theta", len(Y)),
        diverging=np.stack([chain.diverging for chain in chains]),
        leapfrogs=sum(leapfrogs),
        seconds=sum(seconds),
        fit_seconds=fit_seconds,
        warped=warped,
    )
