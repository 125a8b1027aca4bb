"""Eight schools in NumPyro."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal

from flowkit_core.datasets import eight_schools
from numpyro_flowkit import AutoIAF, AutoRealNVP

DATA = eight_schools()
Y, SIGMA = jnp.asarray(DATA.y), jnp.asarray(DATA.sigma)
STEPS, PARTICLES = 1500, 16


def model(centred):
    mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("schools", len(Y)):
        if centred:
            theta = numpyro.sample("theta", dist.Normal(mu, tau))
        else:
            theta = mu + tau * numpyro.sample("theta_std", dist.Normal(0.0, 1.0))
        numpyro.sample("y", dist.Normal(theta, SIGMA), obs=Y)


GUIDES = {
    "mean field": lambda: AutoNormal(model),
    "AutoRealNVP": lambda: AutoRealNVP(model, num_layers=6, hidden_dims=(32, 32)),
    "AutoIAF": lambda: AutoIAF(model, num_layers=3, hidden_dims=(32, 32)),
}


def fit(guide_name, *, centred, num_draws):
    """ELBO, its standard error, and draws of mu and tau."""
    guide = GUIDES[guide_name]()
    rate = optax.exponential_decay(1e-2, STEPS, 0.02)
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(rate))
    svi = SVI(model, guide, optimizer, Trace_ELBO(num_particles=PARTICLES))
    fit_key, elbo_key, draw_key = jax.random.split(jax.random.key(0), 3)
    params = svi.run(fit_key, STEPS, centred, progress_bar=False).params
    evaluate = Trace_ELBO(num_particles=1000)
    loss = jax.jit(lambda key: evaluate.loss(key, params, model, guide, centred))
    elbos = [-float(loss(key)) for key in jax.random.split(elbo_key, num_draws // 1000)]
    values = guide.sample_posterior(draw_key, params, sample_shape=(num_draws,))
    draws = {name: np.asarray(values[name]) for name in ("mu", "tau")}
    return np.mean(elbos), np.std(elbos, ddof=1) / len(elbos) ** 0.5, draws
