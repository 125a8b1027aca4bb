"""Small models at module level, so that guides of them can be pickled, and guides of them."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers

from tests.numpyro.normal_guides import GUIDES

SMALL = {"num_layers": 2, "hidden_dims": (8,)}
FLOW = "auto_flow$params"

DATA = np.array([1.2, 0.4, 2.1, 1.7, 0.9])
DESIGN = np.array([[1.0, -1.0], [1.0, -0.5], [1.0, 0.0], [1.0, 0.7], [1.0, 1.5]])


def regression(scale=0.8):
    """Two coefficients with a Normal prior and known noise: the posterior is Normal."""
    weights = numpyro.sample("weights", dist.Normal(jnp.zeros(2), 2.0).to_event(1))
    with numpyro.plate("rows", 5):
        numpyro.sample("y", dist.Normal(DESIGN @ weights, scale), obs=DATA)


def regression_posterior(scale=0.8):
    """Mean and covariance of the coefficients, in closed form."""
    precision = DESIGN.T @ DESIGN / scale**2 + np.eye(2) / 4
    covariance = np.linalg.inv(precision)
    return covariance @ (DESIGN.T @ DATA) / scale**2, covariance


def regression_evidence(scale=0.8):
    """Log-density of the data with the coefficients integrated out, in closed form."""
    marginal = 4 * DESIGN @ DESIGN.T + scale**2 * np.eye(5)
    quadratic = DATA @ np.linalg.solve(marginal, DATA)
    return -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * marginal)[1])


def hierarchy():
    """A global, a positive scale and three local latents under a full plate."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 2.0))
    tau = numpyro.sample("tau", dist.LogNormal(0.0, 0.5))
    with numpyro.plate("groups", 3):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, 1.0), obs=np.array([1.0, 2.0, 4.0]))


def derived():
    """A positive latent and a deterministic function of it and of another."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    tau = numpyro.sample("tau", dist.LogNormal(0.0, 0.5))
    numpyro.deterministic("ratio", mu / tau)
    numpyro.sample("y", dist.Normal(mu, tau), obs=1.0)


def one_latent():
    """A single number."""
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=1.0)


def supports():
    """Latents on a simplex, in order, positive, in an interval, and a matrix."""
    numpyro.sample("simplex", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
    ordered = dist.TransformedDistribution(
        dist.Normal(jnp.zeros(3), 1.0).to_event(1), dist.transforms.OrderedTransform()
    )
    numpyro.sample("ordered", ordered)
    numpyro.sample("positive", dist.Gamma(2.0, 1.0))
    numpyro.sample("interval", dist.Uniform(2.0, 5.0))
    numpyro.sample("matrix", dist.Normal(jnp.zeros((2, 2)), 1.0).to_event(2))


def subsampled(data):
    """A local latent for every row of a minibatch."""
    mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    with numpyro.plate("rows", len(data), subsample_size=2) as rows:
        local = numpyro.sample("local", dist.Normal(mu, 1.0))
        numpyro.sample("y", dist.Normal(local, 1.0), obs=data[rows])


def no_latent():
    """Nothing to infer."""
    numpyro.sample("y", dist.Normal(0.0, 1.0), obs=0.0)


def call(guide, *args, seed=0):
    """One call of a guide: its values, its trace and its parameters."""
    with handlers.seed(rng_seed=seed), handlers.trace() as trace:
        values = guide(*args)
    params = {name: site["value"] for name, site in trace.items() if site["type"] == "param"}
    return values, trace, params


def started(name, model=regression, *, seed=0, **kwargs):
    """A small guide that was called once, and its parameters."""
    guide = GUIDES[name](model, **{**SMALL, **kwargs})
    return guide, call(guide, seed=seed)[2]


def large(tree, *, seed=0):
    """The same pytree with every leaf drawn anew, so that network outputs are of order one."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        fan_in = leaf.shape[-1] if leaf.ndim > 1 else 4
        return jnp.asarray(rng.normal(size=leaf.shape) * 1.4 / np.sqrt(fan_in), leaf.dtype)

    return jax.tree.map(draw, tree)


def assert_same_leaves(one, two):
    """Two pytrees have one structure and exactly the same numbers in it."""
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
