"""The synthetic targets as NumPyro models; `benchmarks.quality.synthetic` says what they are."""

import math

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from benchmarks.quality import synthetic


def funnel(dim):
    """Neal's funnel of ``dim`` coordinates."""

    def model():
        v = numpyro.sample("v", dist.Normal(0.0, synthetic.FUNNEL_SD))
        scale = jnp.exp(v / 2)[..., None]
        numpyro.sample("x", dist.Normal(jnp.zeros(dim - 1), scale).to_event(1))

    return model


def banana():
    """Two coordinates, one site: latents that depend on each other and are compared together."""
    bend, sd = synthetic.BANANA_BEND, synthetic.BANANA_SD
    x = numpyro.sample("x", dist.Normal(jnp.zeros(2), 1.0).to_event(1).mask(False))
    log_density = dist.Normal(0.0, sd).log_prob(x[..., 0])
    log_density += dist.Normal(bend * (x[..., 0] ** 2 - sd**2), 1.0).log_prob(x[..., 1])
    numpyro.factor("density", log_density)


def gaussian():
    """The correlated Gaussian; its factor is computed in float64, whatever the model runs in."""
    factor = jnp.asarray(np.linalg.cholesky(synthetic.covariance()))
    numpyro.sample("x", dist.MultivariateNormal(jnp.zeros(len(factor)), scale_tril=factor))


def student_t(dim):
    """Independent Student-t."""

    def model():
        numpyro.sample("x", dist.StudentT(synthetic.DF, jnp.zeros(dim), 1.0).to_event(1))

    return model


def two_modes(dim):
    """A mixture of two Normals whose first coordinates differ."""

    def model():
        # As a factor, as it has to be in Pyro.
        x = numpyro.sample("x", dist.Normal(jnp.zeros(dim), 1.0).to_event(1).mask(False))
        parts = []
        for weight, side in zip(synthetic.MODE_WEIGHTS, (-1, 1), strict=True):
            loc = jnp.zeros(dim).at[0].set(side * synthetic.MODE_AT)
            mode = dist.Normal(loc, 1.0).to_event(1)
            parts.append(math.log(weight) + mode.log_prob(x))
        numpyro.factor("density", jnp.logaddexp(*parts))

    return model


MODELS = {
    "funnel_10": funnel(10),
    "funnel_100": funnel(100),
    "banana": banana,
    "gaussian_1e4": gaussian,
    "student_t_2.5": student_t(synthetic.STUDENT_DIM),
    "two_modes": two_modes(synthetic.MODES_DIM),
}
