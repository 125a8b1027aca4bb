"""The horseshoe in NumPyro."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

import numpyro_flowkit
from benchmarks.horseshoe import SLAB_FREEDOM, SLAB_SCALE


def model(x, y, tau_scale):
    dim = x.shape[1]
    tau = numpyro.sample("tau", dist.HalfCauchy(tau_scale))
    half = SLAB_FREEDOM / 2
    slab = numpyro.sample("slab", dist.InverseGamma(half, half * SLAB_SCALE**2))
    with numpyro.plate("coefficients", dim):
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        local = numpyro.sample("local", dist.HalfCauchy(1.0))
    logits = x @ coefficients(z, local, tau, slab)
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Bernoulli(logits=logits), obs=y)


def coefficients(z, local, tau, slab):
    spread = tau * local
    return z * spread / jnp.sqrt(1 + spread**2 / slab)


def fit(guide, data, num_draws, **settings):
    """The fit's result and draws of the coefficients, (num_draws, dim).

    Args:
        guide: name and arguments of a flow guide.
        data: `benchmarks.horseshoe.Sparse`.
        num_draws: of the fitted guide.
        settings: of `fit_guide`.
    """
    name, arguments = guide
    made = getattr(numpyro_flowkit, name)(model, **arguments)
    given = jnp.asarray(data.x), jnp.asarray(data.y), data.tau_scale
    result = numpyro_flowkit.fit_guide(model, made, *given, progress=False, **settings)
    draws = made.sample_posterior(jax.random.key(1), result.params, sample_shape=(num_draws,))
    parts = (draws[site].reshape(num_draws, -1) for site in ("z", "local", "tau", "slab"))
    return result, np.asarray(coefficients(*parts), np.float64)
