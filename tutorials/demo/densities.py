"""Part 2: density estimation on real data, a Gaussian against two flows, in both libraries."""

from pathlib import Path

import jax
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_wine

import numpyro_flowkit
import pyro_flowkit
from flowkit_core import plots

FLOWS = {
    "maf": {"num_layers": 3, "hidden_dims": (64,), "mixing": "lu", "activation": "tanh"},
    "realnvp": {"num_layers": 6, "hidden_dims": (64,), "mixing": "lu", "activation": "tanh"},
}
FIT = {"validation": 0.15, "batch_size": 64, "num_epochs": 150, "patience": 25, "progress": False}


def split(load):
    """Standardised training rows and held-out rows (every fifth of a random order)."""
    rows = np.random.default_rng(0).permutation(load().data)
    held_out = np.arange(len(rows)) % 5 == 0
    mean, sd = rows[~held_out].mean(0), rows[~held_out].std(0)
    standard = ((rows - mean) / sd).astype(np.float32)
    return standard[~held_out], standard[held_out]


def gaussian_log_density(train, rows):
    """Log-density under the maximum-likelihood Gaussian with full covariance."""
    covariance = np.cov(train.T, bias=True)
    centred = rows - train.mean(0)
    _, log_det = np.linalg.slogdet(covariance)
    squares = (centred @ np.linalg.inv(covariance) * centred).sum(1)
    return -0.5 * (squares + log_det + rows.shape[1] * np.log(2 * np.pi))


def fit_pyro(name, train):
    flow = getattr(pyro_flowkit, name)(train.shape[1], **FLOWS[name])
    result = pyro_flowkit.fit_density(flow, train, **FIT)
    density = pyro_flowkit.FlowDistribution(flow)

    def log_density(rows):
        with torch.no_grad():
            return density.log_prob(torch.from_numpy(rows)).numpy()

    generator = torch.Generator().manual_seed(0)
    z = torch.randn(len(train), train.shape[1], generator=generator)
    with torch.no_grad():
        return result, log_density, flow(z).numpy()


def fit_numpyro(name, train):
    init = getattr(numpyro_flowkit, name)(train.shape[1], **FLOWS[name])
    result = numpyro_flowkit.fit_density(init, train, **FIT)
    density = numpyro_flowkit.FlowDistribution(result.flow)
    samples = density.sample(jax.random.key(0), (len(train),))
    return result, lambda rows: np.asarray(density.log_prob(rows)), np.asarray(samples)


def run(output: Path):
    """Print the table; return the NumPyro MAF and held-out rows of the last data set."""
    print("\n== 2. Density estimation: held-out log-likelihood, nats per row (se) ==")
    print(f"{'data':16}{'Gaussian':>17}{'':4}{'MAF':>17}{'RealNVP':>17}")
    pictures, fitted = [], {}
    for title, load in (("wine", load_wine), ("breast cancer", load_breast_cancer)):
        train, held_out = split(load)
        for library, fit in (("Pyro", fit_pyro), ("NumPyro", fit_numpyro)):
            densities = [gaussian_log_density(train, held_out)]
            samples = {}
            for name in FLOWS:
                result, log_density, samples[name] = fit(name, train)
                densities.append(log_density(held_out))
                if library == "NumPyro" and name == "maf":
                    fitted = {"maf": result.flow, "held_out": held_out}
                if name == "maf":
                    path = output / f"losses-{title.replace(' ', '-')}-{library.lower()}.png"
                    result.plot(path)
                    pictures.append(path)
            cells = [f"{d.mean():8.2f} ({d.std() / len(d) ** 0.5:5.2f})" for d in densities]
            print(f"{title:16}{cells[0]:>17}{'':4}{cells[1]:>17}{cells[2]:>17}  {library}")
            path = output / f"samples-{title.replace(' ', '-')}-{library.lower()}.png"
            names = load().feature_names
            labels = (str(names[0]), str(names[6]))
            plots.samples_beside_data(train, samples, columns=(0, 6), labels=labels, path=path)
            pictures.append(path)
    return fitted, pictures
