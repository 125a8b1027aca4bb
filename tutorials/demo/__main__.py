"""Run all parts: ``python -m tutorials.demo [folder for the pictures]``."""

import sys
import time
from pathlib import Path

from tutorials.demo import densities, eight_schools, exchange
from tutorials.demo.lanes import lanes


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with lanes() as workers:
        posteriors = eight_schools.submit(workers)
        fits = densities.submit(workers)
        pictures = eight_schools.report(posteriors, output)
        pictures += densities.report(fits, output)
        exchange.run(output, *densities.numpyro_maf(fits))
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Pictures:")
    for picture in pictures:
        print(f"  {picture}")


if __name__ == "__main__":
    main()
