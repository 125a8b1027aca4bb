"""A flow trained to convergence on a chain of strongly correlated coordinates."""

import numpy as np

from benchmarks.weights import save_named

CORRELATION = 0.99
HIDDEN = 128
LAYERS = 5
ROWS = 20_000


def chain(generator, rows, dim):
    """Stationary Gaussian autoregression: neighbours have correlation 0.99, each variance 1."""
    values = generator.standard_normal((rows, dim))
    for i in range(1, dim):
        values[:, i] *= np.sqrt(1 - CORRELATION**2)
        values[:, i] += CORRELATION * values[:, i - 1]
    return values.astype(np.float32)


def entropy(dim):
    """Of the chain, in nats: the negative log-likelihood that no flow can beat."""
    one = 0.5 * np.log(2 * np.pi * np.e)
    return float(dim * one + (dim - 1) * 0.5 * np.log(1 - CORRELATION**2))


def train(dim, path, steps):
    """Fit by Adam, write the weights to ``path``, and say how near to the optimum it came."""
    import torch

    from pyro_flowkit import maf

    values = torch.from_numpy(chain(np.random.default_rng(0), ROWS, dim))
    flow = maf(dim, num_layers=LAYERS, hidden_dims=(HIDDEN, HIDDEN))
    optimiser = torch.optim.Adam(flow.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(ROWS, (256,), generator=generator)
        optimiser.zero_grad()
        loss = _loss(flow, values[rows])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    save_named(path, {name: p.detach().numpy() for name, p in flow.named_parameters()})
    fresh = torch.from_numpy(chain(np.random.default_rng(1), 4000, dim))
    with torch.no_grad():
        loss = float(_loss(flow, fresh))
    return {"loss": loss, "entropy": entropy(dim), "steps": steps}


def _loss(flow, x):
    """Negative log-likelihood per row under a standard Normal base."""
    z, log_det = flow.inverse_and_log_det(x)
    constant = 0.5 * x.shape[-1] * np.log(2 * np.pi)
    return (0.5 * z.square().sum(-1) - log_det).mean() + constant
