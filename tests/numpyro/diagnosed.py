"""Guides of known quality, to be diagnosed."""

import jax
import jax.numpy as jnp
from numpyro.infer import init_to_value

from numpyro_flowkit.guides.warm_start import warm_start
from tests.numpyro import models
from tests.numpyro import normal_guides as normal


def guide_at(model, values, scale, kind=normal.AutoRealNVP):
    """A guide that starts as N(values, scale^2), and its parameters."""
    start = init_to_value(values={name: jnp.asarray(v) for name, v in values.items()})
    guide = kind(model, init_loc_fn=start, init_scale=scale, **models.SMALL)
    return guide, models.call(guide)[2]


def exact(kind, model=models.regression):
    """A guide that is a Normal posterior, and its parameters."""
    guide = kind(model, **models.SMALL)
    return guide, warm_start(guide, rng_key=jax.random.key(0)).params
