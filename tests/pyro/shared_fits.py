"""What each process does in the tests of process groups; no test is in here."""

import pyro
import pyro.distributions as dist
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from flowkit_core.fitting import GuideFitSettings, Window
from pyro_flowkit import AutoIAF, FlowDistribution, fit_guide, maf
from pyro_flowkit.guides.guide_trainer import GuideTrainer
from pyro_flowkit.guides.objectives import FlowObjective
from pyro_flowkit.process_group import Group

ROWS = torch.linspace(-1.0, 2.0, 8, dtype=torch.float64)


def gaussian(rows):
    """A mean; each process may have its own rows of the eight."""
    mean = pyro.sample("mean", dist.Normal(torch.zeros((), dtype=torch.float64), 2.0))
    with pyro.plate("rows", 8, subsample=rows) as own:
        pyro.sample("y", dist.Normal(mean, 1.0), obs=ROWS[own])


def exact():
    """Mean and standard deviation of the posterior, and the evidence."""
    precision = 0.25 + 8
    covariance = torch.eye(8, dtype=torch.float64) + 4.0
    evidence = torch.distributions.MultivariateNormal(torch.zeros(8).double(), covariance)
    return float(ROWS.sum()) / precision, precision**-0.5, float(evidence.log_prob(ROWS))


def guide_of(model):
    return AutoIAF(model, num_layers=1, hidden_dims=(4,))


def trained(rank, folder):
    """Weights and losses after twelve steps of the trainer, by either gradient."""
    group = None if rank is None else Group(distributed.group.WORLD)
    trainer = make_trainer(group)
    return [steps(trainer, path) for path in (False, True)]


def make_trainer(group, wrap=lambda objective: objective):
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        guide = guide_of(gaussian)
        guide(torch.arange(8))
        objective = wrap(FlowObjective(gaussian, guide, (torch.arange(8),), {}))
    settings = GuideFitSettings(100, 6, 0.05, 10.0, "auto", None, 1, 0)
    return GuideTrainer(objective, settings, None, group)


def steps(trainer, path_gradient):
    window = Window(torch.full((6,), 0.05).numpy(), path_gradient, average=False)
    losses, skipped = trainer.run(window, seed=(3, int(path_gradient)))
    return trainer.weights(), losses, skipped


def fitted(rank, folder, rows=None, guide=None, **settings):
    """Result of a fit in two processes, its numbers and what the guide makes of it."""
    group = distributed.group.WORLD
    own = torch.arange(8) if rows is None else rows
    guide = guide_of(gaussian) if guide is None else guide
    result = fit_guide(
        gaussian, guide, own, num_particles=8, process_group=group, **{"num_steps": 100, **settings}
    )
    draws = guide.sample_posterior(4000, generator=torch.Generator().manual_seed(0))["mean"]
    weights = {name: p.detach().numpy() for name, p in guide.named_parameters()}
    return {
        "weights": weights, "elbo": result.elbo, "losses": result.losses,
        "stopped": result.stopped, "mean": float(draws.mean()), "sd": float(draws.std()),
    }  # fmt: skip


def shared_particles(rank, folder):
    """All of the data in each process; the guides start from different weights."""
    torch.manual_seed(rank)
    guide = guide_of(gaussian)
    guide(torch.arange(8))
    with torch.no_grad():
        for parameter in guide.transform.layers[0].parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    return fitted(rank, folder, guide=guide, progress=True)


def shared_rows(rank, folder):
    """Half of the data in each process, and a time budget that neither clock decides on alone."""
    return fitted(rank, folder, rows=torch.arange(rank, 8, 2), max_seconds=600, progress=False)


def interrupted(rank, folder):
    """A fit that is broken off in its third window, then resumed, beside one that is not."""
    run = GuideTrainer.run
    count = 0

    def stop(trainer, *args, **kwargs):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return run(trainer, *args, **kwargs)

    options = {"num_steps": 30, "progress": False}
    whole = fitted(rank, folder, **options)
    GuideTrainer.run = stop
    try:
        fitted(rank, folder, checkpoint=f"{folder}/state{rank}", **options)
        raise AssertionError("it was not interrupted")
    except KeyboardInterrupt:
        GuideTrainer.run = run
    return whole, fitted(rank, folder, checkpoint=f"{folder}/state{rank}", **options)


def refused(rank, folder):
    """Messages of fits that cannot be shared."""
    told = []
    cases = [{"num_particles": 3}, {"seed": rank}, {"checkpoint": f"{folder}/damaged"}]
    for case in cases:
        try:
            fit_guide(
                gaussian, guide_of(gaussian), torch.arange(8), progress=False, num_steps=10,
                process_group=distributed.group.WORLD, **{"num_particles": 8, **case},
            )  # fmt: skip
        except ValueError as error:
            told.append(str(error))
    return told


def everything(rank, folder):
    """All of these in the same two processes, since starting those is most of what it takes."""
    found = {}
    for part in (trained, shared_particles, shared_rows, interrupted, refused, in_ddp):
        pyro.clear_param_store()
        found[part.__name__] = part(rank, folder)
    return found


class NegativeElbo(nn.Module):
    """A user's module: the loss of a flow by path gradients."""

    def __init__(self):
        super().__init__()
        self.flow = maf(3, num_layers=2, hidden_dims=(8,), seed=0).double()

    def forward(self, z):
        posterior = FlowDistribution(self.flow, path_gradient=True)
        torch.manual_seed(int(z))
        x = posterior.rsample((5,))
        return (posterior.log_prob(x) + 0.5 * ((x - 1) ** 2).sum(-1)).mean()


def in_ddp(rank, folder):
    """Losses and weights of a module that torch's own wrapper keeps alike."""
    module = NegativeElbo()
    wrapped = module if rank is None else DistributedDataParallel(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for step in range(5):
        optimizer.zero_grad()
        mine = [2 * step + rank] if rank is not None else [2 * step, 2 * step + 1]
        loss = torch.stack([wrapped(torch.tensor(number)) for number in mine]).mean()
        loss.backward()
        optimizer.step()
    return [p.detach().numpy() for p in module.parameters()]
