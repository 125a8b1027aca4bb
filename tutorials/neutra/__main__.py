"""Both libraries: ``python -m tutorials.neutra [folder for the picture]``."""

import sys
import time
from pathlib import Path

from tutorials.demo.lanes import lanes
from tutorials.neutra import picture, schools_numpyro, schools_pyro, table
from tutorials.neutra.runs import Length

MODULES = {"NumPyro": schools_numpyro, "Pyro": schools_pyro}
# Pyro's NUTS is Python from end to end, some milliseconds for each leapfrog step, so its chains are
# short; for the same reason they are two. NumPyro's are compiled and take a second or two.
LENGTHS = {
    "NumPyro": Length(chains=4, warmup=1000, draws=1000),
    "Pyro": Length(chains=2, warmup=150, draws=250),
}
REFERENCE = Length(chains=4, warmup=1000, draws=4000)


def main(folder="demo-output", lengths=LENGTHS, reference_length=REFERENCE) -> None:
    """Run everything, print the table, draw the picture into the folder."""
    output = Path(folder)
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with lanes() as workers:
        reference = workers["NumPyro"].submit(schools_numpyro.reference, reference_length)
        futures = {
            library: (
                workers[library].submit(module.plain, lengths[library]),
                workers[library].submit(module.neutra, lengths[library]),
            )
            for library, module in MODULES.items()
        }
        table.introduce(reference.result())
        runs = {}
        for library, pair in futures.items():
            runs[library] = {"plain": pair[0].result(), "NeuTra": pair[1].result()}
            table.report(library, runs[library])
    path = picture.draw(runs, reference.result(), output / "neutra.png")
    table.conclude(runs)
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Picture: {path}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
