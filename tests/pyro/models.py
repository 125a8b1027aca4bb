"""Small models at module level, so that guides of them can be pickled."""

import pyro
import pyro.distributions as dist
import torch

DATA = torch.tensor([1.2, 0.4, 2.1, 1.7, 0.9])
DESIGN = torch.tensor([[1.0, -1.0], [1.0, -0.5], [1.0, 0.0], [1.0, 0.7], [1.0, 1.5]])


def regression(scale=0.8):
    """Two coefficients with a Normal prior and known noise: the posterior is Normal."""
    weights = pyro.sample("weights", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    with pyro.plate("rows", 5):
        # Coordinates apart, so that vectorised particles to the left of the plate broadcast.
        mean = weights[..., 0] * DESIGN[:, 0] + weights[..., 1] * DESIGN[:, 1]
        pyro.sample("y", dist.Normal(mean, scale), obs=DATA)


def regression_posterior(scale=0.8, dtype=torch.float64):
    """Mean and covariance of the coefficients, in closed form."""
    design, data = DESIGN.to(dtype), DATA.to(dtype)
    precision = design.T @ design / scale**2 + torch.eye(2, dtype=dtype) / 4
    covariance = torch.linalg.inv(precision)
    return covariance @ (design.T @ data) / scale**2, covariance


def hierarchy():
    """A global, a positive scale and three local latents under a full plate."""
    mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
    tau = pyro.sample("tau", dist.LogNormal(0.0, 0.5))
    with pyro.plate("groups", 3):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, 1.0), obs=torch.tensor([1.0, 2.0, 4.0]))


def one_latent():
    """A single number."""
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(1.0))


def supports():
    """Latents on a simplex, in order, positive, in an interval, and a matrix."""
    pyro.sample("simplex", dist.Dirichlet(torch.tensor([1.0, 2.0, 3.0])))
    ordered = dist.TransformedDistribution(
        dist.Normal(torch.zeros(3), 1.0).to_event(1), [dist.transforms.OrderedTransform()]
    )
    pyro.sample("ordered", ordered)
    pyro.sample("positive", dist.Gamma(2.0, 1.0))
    pyro.sample("interval", dist.Uniform(2.0, 5.0))
    pyro.sample("matrix", dist.Normal(torch.zeros(2, 2), 1.0).to_event(2))


def double_precision():
    """Everything in float64."""
    x = pyro.sample("x", dist.Normal(torch.zeros(3).double(), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(x.sum(), 0.5), obs=torch.tensor(2.0).double())


def subsampled(data):
    """A local latent for every row of a minibatch."""
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(data), subsample_size=2) as rows:
        local = pyro.sample("local", dist.Normal(mu, 1.0))
        pyro.sample("y", dist.Normal(local, 1.0), obs=data[rows])


def no_latent():
    """Nothing to infer."""
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))


def zero_init(site):
    """An initial location at module level: ones."""
    return torch.ones_like(site["fn"].sample())
