"""Both libraries: ``python -m tutorials.vae``; ``--help`` lists the options."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from tutorials.demo.lanes import lanes
from tutorials.vae import data, pictures, table
from tutorials.vae.settings import VARIANTS, Settings
from tutorials.vae.wings import WINGS, run


def main(arguments=None) -> None:
    """Train every variant asked for, print a table for each library, draw the pictures."""
    options = parsed(arguments)
    settings = settings_of(options)
    images, source = data.digits(), "scikit-learn's digits"
    if options.mnist is not None:
        try:
            images, source = data.mnist(options.mnist), "MNIST"
        except (OSError, ValueError) as error:
            raise SystemExit(f"--mnist: {error}") from None
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    table.introduce(images, settings, source)
    drawn = []
    with lanes() as workers:
        jobs = {
            library: {
                variant: workers[library].submit(run, wing, variant, images, settings)
                for variant in options.variants
            }
            for wing, library in WINGS.items()
            if wing in options.wings
        }
        for library, futures in jobs.items():
            print(table.head(library))
            outcomes = {}
            for variant, future in futures.items():
                outcomes[variant] = future.result()
                print(table.row(outcomes[variant], outcomes["standard"]), flush=True)
            print(table.conclude(outcomes), flush=True)
            drawn += pictures.draw(library, outcomes, images, output)
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Pictures:")
    for path in drawn:
        print(f"  {path}")


def settings_of(options):
    """`Settings` with what the command line changes."""
    named = {"epochs": options.epochs, "latents": options.latents, "seed": options.seed}
    given = {name: value for name, value in named.items() if value is not None}
    return replace(Settings(), device=options.device, **given)


def parsed(arguments=None):
    """The command line; the standard VAE is always among the variants, the first of them."""
    parser = argparse.ArgumentParser(
        prog="python -m tutorials.vae",
        description="VAEs with learnt priors beside the standard one, and their ELBO taken apart.",
    )
    parser.add_argument("--wings", nargs="+", choices=WINGS, default=list(WINGS))
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS),
        help="the standard one is always among them",
    )  # fmt: skip
    parser.add_argument("--epochs", type=_positive, help=f"default {Settings.epochs}")
    parser.add_argument("--latents", type=_positive, help=f"default {Settings.latents}")
    parser.add_argument("--seed", type=_seed, help=f"of training, default {Settings.seed}")
    parser.add_argument(
        "--mnist", metavar="FOLDER", help="with MNIST's four IDX files, plain or .gz"
    )
    parser.add_argument("--device", default="cpu", help='for Pyro, such as "cuda"')
    parser.add_argument("--output", default="demo-output", help="folder for the pictures")
    options = parser.parse_args(arguments)
    options.variants = [v for v in VARIANTS if v in options.variants or v == "standard"]
    return options


def _positive(text):
    return _at_least(1, int(text))


def _seed(text):
    return _at_least(0, int(text))


def _at_least(least, number):
    if number < least:
        raise argparse.ArgumentTypeError(f"expected a number of at least {least}, got {number}")
    return number


if __name__ == "__main__":
    main()
