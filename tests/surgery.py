"""Posteriors of both wings from numpy arrays, and what surgery says, by slow sums in numpy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions
import pyro.distributions
import pytest
import scipy.special
import torch

import numpyro_flowkit
import pyro_flowkit
from numpyro_flowkit import surgery as numpyro_surgery
from pyro_flowkit import surgery as pyro_surgery

every_wing = pytest.mark.parametrize("wing", ["pyro", "numpyro"])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
PACKAGES = {"pyro": pyro_flowkit, "numpyro": numpyro_flowkit}
SURGERY = {"pyro": pyro_surgery, "numpyro": numpyro_surgery}
DISTRIBUTIONS = {"pyro": pyro.distributions, "numpyro": numpyro.distributions}


def array(wing, values, dtype="float64"):
    """An array of a wing."""
    if wing == "numpyro":
        return jnp.asarray(values, dtype)
    return torch.tensor(np.asarray(values)).to(getattr(torch, dtype))


def numbers(values):
    """As numpy, float64."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, np.float64)


def diagonal(wing, loc, scale, dtype="float64"):
    """Diagonal Gaussians, one for each row."""
    loc, scale = (array(wing, part, dtype) for part in np.broadcast_arrays(loc, scale))
    return DISTRIBUTIONS[wing].Normal(loc, scale).to_event(1)


def full(wing, loc, scale_tril, dtype="float64"):
    """Gaussians with full covariance, one for each row."""
    return DISTRIBUTIONS[wing].MultivariateNormal(
        array(wing, loc, dtype), scale_tril=array(wing, scale_tril, dtype)
    )


def standard_normal(wing, dim, dtype="float64"):
    """A prior."""
    return diagonal(wing, np.zeros(dim), np.ones(dim), dtype)


def randomness(wing, seed):
    """Keyword of the functions that draw."""
    if wing == "numpyro":
        return {"rng_key": jax.random.key(seed)}
    return {"generator": torch.Generator().manual_seed(seed)}


def call(wing, name, *args, seed=0, **keywords):
    """A function of surgery that draws."""
    return getattr(SURGERY[wing], name)(*args, **randomness(wing, seed), **keywords)


def draws_of(wing, posterior, seed=0):
    """One draw for each row."""
    if wing == "numpyro":
        return posterior.sample(jax.random.key(seed))
    torch.manual_seed(seed)
    return posterior.sample()


def log_aggregate_by_hand(loc, factor, z):
    """``log (1/n) sum_j q(z_i | x_j)``; factor is a scale (n, d) or a scale_tril (n, d, d)."""
    loc, factor, z = (np.asarray(v, np.float64) for v in (loc, factor, z))
    if factor.ndim == 2:
        white = (z[:, None] - loc) / factor
        log_scale = np.log(factor).sum(-1)
    else:
        white = np.linalg.solve(factor, (z[:, None] - loc)[..., None])[..., 0]
        log_scale = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(-1)
    pairs = -0.5 * (white**2).sum(-1) - log_scale - 0.5 * z.shape[1] * math.log(2 * math.pi)
    return scipy.special.logsumexp(pairs, 1) - math.log(len(loc))
