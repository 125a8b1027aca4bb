"""Guides of known quality, to be diagnosed."""

import torch
from pyro.infer.autoguide import init_to_value

from tests.pyro import models
from tests.pyro import normal_guides as normal

SMALL = {"num_layers": 2, "hidden_dims": (8,)}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def evidence(scale=0.8):
    """Log-density of the regression's data with the coefficients integrated out."""
    design, data = models.DESIGN.double(), models.DATA.double()
    marginal = 4 * design @ design.T + scale**2 * torch.eye(5, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(torch.zeros(5).double(), marginal)
    return float(normal.log_prob(data))


def guide_at(model, values, scale, kind=normal.AutoRealNVP):
    """A guide that starts as N(values, scale^2)."""
    start = init_to_value(values={name: torch.as_tensor(v) for name, v in values.items()})
    guide = kind(model, init_loc_fn=start, init_scale=scale, **SMALL)
    guide()
    return guide
