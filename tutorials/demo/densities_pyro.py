"""Density estimation in Pyro."""

import torch

from pyro_flowkit import FlowDistribution, fit_density, maf, realnvp

FLOWS = {
    "MAF": lambda dim: maf(dim, num_layers=3, hidden_dims=(64,), mixing="lu", activation="tanh"),
    "RealNVP": lambda dim: realnvp(
        dim, num_layers=6, hidden_dims=(64,), mixing="lu", activation="tanh"
    ),
}


def fit(name, train, held_out):
    """The fit, the log-density of the held-out rows, and as many samples as training rows."""
    flow = FLOWS[name](train.shape[1])
    result = fit_density(
        flow, train, validation=0.15, batch_size=64, num_epochs=150, patience=25, progress=False
    )
    torch.manual_seed(0)
    density = FlowDistribution(flow)
    with torch.no_grad():
        log_density = density.log_prob(torch.from_numpy(held_out)).numpy()
        return result, log_density, density.sample((len(train),)).numpy()
