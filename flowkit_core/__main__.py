"""``python -m flowkit_core info``: versions, extras and devices, for a report of a fault."""

import argparse
from collections.abc import Sequence

from flowkit_core.info import report


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; ``info`` is the only one.

    Args:
        arguments: of the command line; those of this process if None.
    """
    parser = argparse.ArgumentParser(prog="python -m flowkit_core")
    commands = parser.add_subparsers(required=True, metavar="command")
    about = "print versions, the extras found and the devices of torch and JAX"
    commands.add_parser("info", help=about, description=about)
    parser.parse_args(arguments)
    print(report())


if __name__ == "__main__":
    main()
