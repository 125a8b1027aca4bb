"""Part 1: eight schools, centred and non-centred, in Pyro and in NumPyro.

A mean-field Normal against two flow guides. The ELBO is a lower bound of the log evidence, so the
gap to it is KL(guide || posterior) in nats.
"""

from pathlib import Path

from flowkit_core import plots
from flowkit_core.datasets import eight_schools
from tutorials.demo import eight_schools_numpyro, eight_schools_pyro

DRAWS = 10_000


def run(output: Path) -> list[Path]:
    data = eight_schools()
    reference = {k: (r.mean, r.sd) for k, r in data.reference.items()}
    print("== 1. Eight schools: flow guides beside the reference posterior ==")
    print(f"log evidence {data.log_evidence:.3f} nats, an upper bound of every ELBO;")
    shown = ", ".join(f"{k} {mean:.2f} +- {sd:.2f}" for k, (mean, sd) in reference.items())
    print(f"reference posterior (mean +- sd, posteriordb): {shown}\n")
    print(f"{'':8}{'model':13}{'guide':12}{'ELBO':>8} {'(se)':>8}   {'mu':>13}   {'tau':>13}")
    pictures = []
    for library, module in (("Pyro", eight_schools_pyro), ("NumPyro", eight_schools_numpyro)):
        for centred in (True, False):
            model = "centred" if centred else "non-centred"
            draws = {}
            for guide in ("mean field", "AutoRealNVP", "AutoIAF"):
                elbo, stderr, sample = module.fit(guide, centred=centred, num_draws=DRAWS)
                draws[guide] = sample
                moments = "   ".join(
                    f"{sample[k].mean():5.2f} +-{sample[k].std():5.2f}" for k in reference
                )
                print(
                    f"{library:8}{model:13}{guide:12}{elbo:8.3f} ({stderr:.4f})   {moments}",
                    flush=True,
                )
            path = output / f"eight-schools-{library.lower()}-{model}.png"
            plots.marginal_histograms(draws, reference=reference, path=path)
            pictures.append(path)
    return pictures
