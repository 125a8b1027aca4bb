"""Both libraries: ``python -m tutorials.images``; ``--help`` lists the options."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from tutorials.demo.lanes import lanes
from tutorials.images import data, gaussian, pictures, table
from tutorials.images.settings import MODELS, Settings
from tutorials.images.wings import WINGS, run


def main(arguments=None) -> None:
    """Fit every model asked for, print a table for each library, draw the pictures."""
    options = parsed(arguments)
    given = {"epochs": options.epochs, "seed": options.seed}
    settings = replace(Settings(), **{k: v for k, v in given.items() if v is not None})
    digits, output = data.digits(), Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    table.introduce(digits)
    drawn = []
    with lanes() as workers:
        jobs = {
            library: {
                model: workers[library].submit(run, wing, model, digits, settings)
                for model in options.models
            }
            for wing, library in WINGS.items()
            if wing in options.wings
        }
        normal = gaussian.run(digits, settings)
        for library, futures in jobs.items():
            print(table.head(library))
            print(table.row(normal, normal, None), flush=True)
            outcomes = {}
            for model, future in futures.items():
                outcomes[model] = future.result()
                print(table.row(outcomes[model], normal, outcomes.get("realnvp")), flush=True)
            print(table.conclude(outcomes, normal), flush=True)
            drawn += pictures.draw(library, outcomes, normal, digits, output)
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Pictures:")
    for path in drawn:
        print(f"  {path}")


def parsed(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tutorials.images",
        description="Flows of images beside a flow of vectors and a Gaussian, on digits.",
    )
    parser.add_argument("--wings", nargs="+", choices=WINGS, default=list(WINGS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--epochs", type=int, help=f"default {Settings.epochs}")
    parser.add_argument("--seed", type=int, help=f"default {Settings.seed}")
    parser.add_argument("--output", default="demo-output", help="folder for the pictures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
