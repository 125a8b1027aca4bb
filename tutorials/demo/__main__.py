"""Run all parts: ``python -m tutorials.demo [folder for the pictures]``."""

import sys
import time
from pathlib import Path

from tutorials.demo import densities, eight_schools, exchange


def main() -> None:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    pictures = eight_schools.run(output)
    fitted, more = densities.run(output)
    pictures += more
    exchange.run(output, fitted["maf"], fitted["held_out"])
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Pictures:")
    for picture in pictures:
        print(f"  {picture}")


if __name__ == "__main__":
    main()
