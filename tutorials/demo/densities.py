"""Part 2: density estimation on real data, a Gaussian against two flows, in both libraries."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_wine

from flowkit_core import plots
from tutorials.demo import densities_numpyro, densities_pyro

MODULES = {"Pyro": densities_pyro, "NumPyro": densities_numpyro}
DATA = {"wine": load_wine, "breast cancer": load_breast_cancer}
FLOWS = ("MAF", "RealNVP")


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


def submit(workers):
    """Start every fit; the results come as futures under (data, library, flow)."""
    return {
        (title, library, name): workers[library].submit(module.fit, name, *split(load))
        for title, load in DATA.items()
        for library, module in MODULES.items()
        for name in FLOWS
    }


def report(futures, output: Path) -> list[Path]:
    """Print the table row by row; return the pictures."""
    print("\n== 2. Density estimation: held-out log-likelihood, nats per row (se) ==")
    print(f"{'data':15}{'rows':>4} {'D':>3}  {'':9}{'Gaussian':>16}{'MAF':>16}{'RealNVP':>16}")
    pictures = []
    for title, load in DATA.items():
        train, held_out = split(load)
        for library in MODULES:
            scores, samples = [gaussian_log_density(train, held_out)], {}
            for name in FLOWS:
                result, log_density, samples[name] = futures[title, library, name].result()
                scores.append(log_density)
                stem = f"{name}-{title}-{library}".lower().replace(" ", "-")
                path = output / f"losses-{stem}.png"
                result.plot(path)
                pictures.append(path)
            cells = "".join(f"{s.mean():8.2f} ({s.std() / len(s) ** 0.5:5.2f})" for s in scores)
            print(f"{title:15}{len(train):4} {train.shape[1]:3}  {library:9}{cells}", flush=True)
            path = output / f"samples-{title}-{library}.png".lower().replace(" ", "-")
            names = load().feature_names
            labels = (f"{names[0]}, standardised", f"{names[6]}, standardised")
            plots.samples_beside_data(train, samples, columns=(0, 6), labels=labels, path=path)
            pictures.append(path)
    print("Wine has few rows for its dimension: there the Gaussian is hard to beat.")
    return pictures


def numpyro_maf(futures):
    """The MAF that NumPyro fitted to the breast-cancer data, and the held-out rows."""
    result, _, _ = futures["breast cancer", "NumPyro", "MAF"].result()
    return result.flow, split(load_breast_cancer)[1]
