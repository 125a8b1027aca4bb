"""What each of four processes does in the tests of surgery; no test is in here."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import distributed

from pyro_flowkit import (
    FlowDistribution,
    aggregate_log_prob,
    elbo_surgery,
    elbo_surgery_of,
    iaf,
    marginal_kl,
    mutual_information,
)

# Data points and points of each process: one has no data, one no points.
ROWS = [slice(0, 0), slice(0, 5), slice(5, 17), slice(17, 20)]
POINTS = [slice(0, 4), slice(4, 4), slice(4, 11), slice(11, 13)]
KINDS = ("diagonal", "full", "flow")
EVERYTHING = slice(None)
PRIOR = dist.Normal(torch.zeros(2, dtype=torch.float64), 1.5).to_event(1)


def numbers():
    """Means, scales and points of all processes."""
    rng = np.random.default_rng(0)
    arrays = 2 * rng.normal(size=(20, 2)), rng.uniform(0.2, 1.5, (20, 2)), rng.normal(size=(13, 2))
    return [torch.from_numpy(array) for array in arrays]


def flow():
    """A conditional flow that is not the identity."""
    made = iaf(2, num_layers=2, hidden_dims=(6,), context_dim=2).double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.from_numpy(0.3 * rng.normal(size=parameter.shape)))
    return made


def posterior_of(kind, loc, scale, made):
    if kind == "full" and not len(loc):
        return []  # torch has no MultivariateNormal without rows
    if kind == "full":
        return dist.MultivariateNormal(loc, scale_tril=torch.diag_embed(scale) + 0.1 * LOWER)
    base = dist.Normal(loc, scale).to_event(1)
    return base if kind == "diagonal" else FlowDistribution(made, base, context=loc)


LOWER = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)


def densities(kind, rows, points, group=None, *, wanted=("loc", "scale", "z", "flow")):
    """Log-densities of these points, and gradients of their weighted sum."""
    loc, scale, z = numbers()
    loc, scale, made = loc[rows], scale[rows], flow()
    weights = torch.linspace(-1.0, 2.0, len(z), dtype=torch.float64)[points]
    z = z[points]
    leaves = {"loc": loc, "scale": scale, "z": z}
    for name in leaves:
        leaves[name].requires_grad_(name in wanted)
    made.requires_grad_("flow" in wanted)
    posterior = posterior_of(kind, loc, scale, made)
    found = aggregate_log_prob(posterior, z, process_group=group, memory_limit=2**16)
    (weights * found).sum().backward()
    gradients = {n: None if x.grad is None else x.grad.numpy() for n, x in leaves.items()}
    flat = [p.grad.reshape(-1) for p in made.parameters() if p.grad is not None]
    gradients["flow"] = torch.cat(flat).numpy() if flat else None
    return found.detach().numpy(), gradients


def likelihood_of(rows):
    """``log p(x | z)`` of the data points that are here."""
    data = numbers()[0][rows] + 0.3

    def log_likelihood(z, part):
        return dist.Normal(z, 1.0).to_event(1).log_prob(data[part])

    return log_likelihood


def surgeries(rank, group, kind):
    """By either method, of the data points that are here."""
    loc, scale, _ = (array[ROWS[rank]] for array in numbers())
    posterior = posterior_of(kind, loc, scale, flow())
    options = {"num_samples": 3, "process_group": group}
    torch.manual_seed(0)  # all processes alike, which must not make their draws alike
    found = [
        elbo_surgery(
            posterior, PRIOR, log_likelihood=likelihood_of(ROWS[rank]),
            generator=torch.Generator().manual_seed(4), **options,
        ),
        elbo_surgery(posterior, PRIOR, method="bounds", num_others=4,
                     generator=torch.Generator().manual_seed(4), **options),
    ]  # fmt: skip
    alike = {"generator": torch.Generator().manual_seed(4), **options}
    found.append(marginal_kl(posterior, PRIOR, **alike))
    alike = {"generator": torch.Generator().manual_seed(4), **options}
    found.append(mutual_information(posterior, **alike))
    return [*found, elbo_surgery(posterior, PRIOR, process_group=group)]


def model(x):
    """One latent vector for each row."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", PRIOR)
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.5).to_event(1))


def read_off(rank, group):
    """Surgery of a model and its guide, of the rows that are here; batches of four."""
    data = numbers()[0][ROWS[rank]]
    return elbo_surgery_of(
        model, guide, data, batch_size=4, num_samples=2, process_group=group, progress=True,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip


def refusals(rank, group):
    """Messages where one process, or all of them, cannot go on."""
    loc, scale, z = numbers()
    rows = slice(5 * rank, 5 * rank + 5)
    posterior = dist.Normal(loc[rows], scale[rows]).to_event(1)
    bad = z[:2] * (torch.nan if rank == 2 else 1.0)
    other = dist.Normal(loc[rows, :1], 1.0).to_event(1) if rank == 1 else posterior

    def fails(z, part):
        if rank == 3:
            raise ValueError("no likelihood here")
        return z.sum(-1)

    cases = [
        lambda: aggregate_log_prob(posterior, bad, process_group=group),
        lambda: mutual_information(other, process_group=group),
        lambda: mutual_information([], process_group=group),
        lambda: mutual_information(3 if rank == 1 else posterior, process_group=group),
        lambda: elbo_surgery(posterior, PRIOR, log_likelihood=fails, process_group=group),
        lambda: elbo_surgery(posterior, PRIOR, num_samples=1 + rank // 2, process_group=group),
        lambda: aggregate_log_prob(posterior, z.float() if rank else z, process_group=group),
    ]
    told = []
    for case in cases:
        try:
            case()
        except (TypeError, ValueError) as error:
            told.append(f"{type(error).__name__}: {error}")
        else:
            told.append("nothing")
    return told


def everything(rank, folder):
    """What a process finds."""
    group = distributed.group.WORLD
    both = ROWS[rank], POINTS[rank], group
    return {
        "densities": [densities(kind, *both) for kind in KINDS],
        "by points": densities("diagonal", *both, wanted=("z",)),
        "by one": densities("diagonal", *both, wanted=("loc",) if rank == 2 else ()),
        "surgeries": {kind: surgeries(rank, group, kind) for kind in KINDS},
        "read off": read_off(rank, group),
        "refusals": refusals(rank, group),
    }
