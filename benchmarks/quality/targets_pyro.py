"""The synthetic targets as Pyro models; `benchmarks.quality.synthetic` says what they are."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import torch

from benchmarks.quality import synthetic


def _number(value):
    """As a tensor of the default dtype, which distributions of plain numbers would not have."""
    return torch.tensor(value, dtype=torch.get_default_dtype())


def funnel(dim):
    """Neal's funnel of ``dim`` coordinates."""

    def model():
        v = pyro.sample("v", dist.Normal(_number(0.0), _number(synthetic.FUNNEL_SD)))
        scale = torch.exp(v / 2)[..., None]
        pyro.sample("x", dist.Normal(torch.zeros(dim - 1), scale).to_event(1))

    return model


def banana():
    """Two coordinates, one site: latents that depend on each other and are compared together."""
    bend, sd = synthetic.BANANA_BEND, _number(synthetic.BANANA_SD)
    x = pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1).mask(False))
    log_density = dist.Normal(_number(0.0), sd).log_prob(x[..., 0])
    curve = bend * (x[..., 0] ** 2 - sd**2)
    log_density = log_density + dist.Normal(curve, 1.0).log_prob(x[..., 1])
    pyro.factor("density", log_density)


def gaussian():
    """The correlated Gaussian; its factor is computed in float64, whatever the model runs in."""
    factor = _number(np.linalg.cholesky(synthetic.covariance()))
    pyro.sample("x", dist.MultivariateNormal(torch.zeros(len(factor)), scale_tril=factor))


def student_t(dim):
    """Independent Student-t."""

    def model():
        pyro.sample("x", dist.StudentT(_number(synthetic.DF), torch.zeros(dim), 1.0).to_event(1))

    return model


def two_modes(dim):
    """A mixture of two Normals whose first coordinates differ."""

    def model():
        # As a factor: Pyro's guides cannot take a site whose distribution is MixtureSameFamily.
        x = pyro.sample("x", dist.Normal(torch.zeros(dim), 1.0).to_event(1).mask(False))
        parts = []
        for weight, side in zip(synthetic.MODE_WEIGHTS, (-1, 1), strict=True):
            loc = torch.zeros(dim)
            loc[0] = side * synthetic.MODE_AT
            mode = dist.Normal(loc, 1.0).to_event(1)
            parts.append(math.log(weight) + mode.log_prob(x))
        pyro.factor("density", torch.logaddexp(*parts))

    return model


MODELS = {
    "funnel_10": funnel(10),
    "funnel_100": funnel(100),
    "banana": banana,
    "gaussian_1e4": gaussian,
    "student_t_2.5": student_t(synthetic.STUDENT_DIM),
    "two_modes": two_modes(synthetic.MODES_DIM),
}
