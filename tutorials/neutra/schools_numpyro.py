"""Eight schools in NumPyro: NUTS as it is, through a flow, and by the modeller's own trick."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS
from numpyro.infer.reparam import NeuTraReparam

from flowkit_core.datasets import eight_schools
from numpyro_flowkit import AutoIAF, fit_guide
from tutorials.neutra.runs import Run

DATA = eight_schools()
Y, SIGMA = jnp.asarray(DATA.y), jnp.asarray(DATA.sigma)


def centred():
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("schools", len(Y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, SIGMA), obs=Y)


def non_centred():
    """The same posterior without a funnel: what NeuTra has to find out by itself."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("schools", len(Y)):
        standard = numpyro.sample("standard", dist.Normal(0.0, 1.0))
        theta = numpyro.deterministic("theta", mu + tau * standard)
        numpyro.sample("y", dist.Normal(theta, SIGMA), obs=Y)


def plain(length):
    """NUTS in the model's own coordinates."""
    return _nuts(centred, length)


def reference(length):
    """NUTS on the non-centred model."""
    return _nuts(non_centred, length)


def neutra(length):
    """Train, then NUTS in the warped space."""
    # Drawing from an IAF takes one pass of its networks, and NUTS only ever goes from z to theta.
    guide = AutoIAF(centred, num_layers=3, hidden_dims=(32, 32))
    began = time.perf_counter()
    fit = fit_guide(centred, guide, num_steps=length.fit_steps, progress=False)
    fit_seconds = time.perf_counter() - began
    # Plates need no care: the handler replaces mu, tau and theta, plates and all, by one vector z
    # of ten coordinates, and computes the three from it.
    warped = NeuTraReparam(guide, fit.params).reparam(centred)
    return _nuts(warped, length, latent="auto_shared_latent", fit_seconds=fit_seconds)


def _nuts(model, length, *, latent=None, fit_seconds=0.0):
    mcmc = MCMC(
        NUTS(model), num_warmup=length.warmup, num_samples=length.draws,
        num_chains=length.chains, chain_method="sequential", progress_bar=False,
    )  # fmt: skip
    warmup_key, draw_key = jax.random.split(jax.random.key(0))
    mcmc.warmup(warmup_key)
    for _ in range(2):  # the same draws twice: the first time is spent on compilation
        began = time.perf_counter()
        mcmc.run(draw_key, extra_fields=("diverging", "num_steps"))
        draws = jax.block_until_ready(mcmc.get_samples(group_by_chain=True))
        seconds = time.perf_counter() - began
    extra = mcmc.get_extra_fields(group_by_chain=True)
    return Run(
        mu=np.asarray(draws["mu"]),
        log_tau=np.log(np.asarray(draws["tau"])),
        theta=np.asarray(draws["theta"]),
        diverging=np.asarray(extra["diverging"]),
        leapfrogs=int(extra["num_steps"].sum()),
        seconds=seconds,
        fit_seconds=fit_seconds,
        warped=None if latent is None else np.asarray(draws[latent]),
    )
