"""Part 1: eight schools, centred and non-centred, in Pyro and in NumPyro.

A mean-field Normal against two flow guides. The ELBO is a lower bound of the log evidence, so the
gap to it is KL(guide || posterior) in nats.
"""

from pathlib import Path

from flowkit_core import plots
from flowkit_core.datasets import eight_schools
from tutorials.demo import eight_schools_numpyro, eight_schools_pyro

MODULES = {"Pyro": eight_schools_pyro, "NumPyro": eight_schools_numpyro}
MODELS = {"centred": True, "non-centred": False}
GUIDES = ("mean field", "AutoRealNVP", "AutoIAF")
DRAWS = 10_000


def submit(workers):
    """Start every fit; the results come as futures under (library, model, guide)."""
    return {
        (library, model, guide): workers[library].submit(
            module.fit, guide, centred=centred, num_draws=DRAWS
        )
        for library, module in MODULES.items()
        for model, centred in MODELS.items()
        for guide in GUIDES
    }


def report(futures, output: Path) -> list[Path]:
    """Print the table row by row; return the pictures."""
    data = eight_schools()
    reference = {name: (r.mean, r.sd) for name, r in data.reference.items()}
    print("== 1. Eight schools: flow guides beside the reference posterior ==")
    print("A mean-field Normal, and two flows, fitted to the posterior of Rubin's eight schools.")
    print(f"log evidence {data.log_evidence:.3f} nats: what no ELBO can exceed\n")
    print(f"{'':8}{'model':13}{'guide':12}{'ELBO':>8} {'(se)':>8}   {'mu':>13}   {'tau':>13}")
    pictures, draws = [], {}
    for (library, model, guide), future in futures.items():
        elbo, stderr, sample = future.result()
        draws[guide] = sample
        moments = "   ".join(
            f"{sample[name].mean():5.2f} +-{sample[name].std():5.2f}" for name in reference
        )
        print(f"{library:8}{model:13}{guide:12}{elbo:8.3f} ({stderr:.4f})   {moments}", flush=True)
        if guide == GUIDES[-1]:
            path = output / f"eight-schools-{library.lower()}-{model}.png"
            plots.marginal_histograms(draws, reference=reference, path=path)
            pictures.append(path)
    exact = "   ".join(f"{mean:5.2f} +-{sd:5.2f}" for mean, sd in reference.values())
    print(f"{'reference (posteriordb, 10 000 draws)':53}{exact}")
    return pictures
