"""Command line: `python -m benchmarks [SECTION ...] [--quick] [--output FOLDER]`.

`report` instead of sections renders RESULTS.md anew, `check` tests that all adapters compute the
same kind of thing.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks import machine, report, store
from benchmarks.progress import say
from benchmarks.sections import SECTIONS, section
from benchmarks.settings import Settings
from benchmarks.workers import cuda_devices

FULL = Path(__file__).parent
QUICK = FULL.parent / ".cache" / "bench-quick"  # so that a quick look leaves the full results alone


def main(arguments=None):
    """Run what the arguments say; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what", nargs="*", metavar="SECTION", help=f"report, check, or any of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--quick", action="store_true", help="one size, few rounds and peers")
    parser.add_argument("--output", type=Path, help="folder of results.json and RESULTS.md")
    options = parser.parse_args(arguments)
    folder = options.output or (QUICK if options.quick else FULL)
    unknown = set(options.what) - {*SECTIONS, "report", "check"}
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if options.what == ["check"]:
        from benchmarks import check

        return check.main()
    if options.what != ["report"]:
        if {"report", "check"} & set(options.what):
            parser.error("report and check stand alone")
        _measure(options.what or SECTIONS, options.quick, folder)
    print(report.write(folder, store.load(folder)))
    return 0


def _measure(names, quick, folder):
    devices = {"torch": ("cpu",), "jax": ("cpu",)}
    accelerators = cuda_devices()
    for backend in accelerators:
        devices[backend] = ("cpu", "cuda")
    settings = Settings(quick=quick, devices=devices)
    command = f"python -m benchmarks {' '.join(names)}" + (" --quick" if quick else "")
    for name in names:
        say(f"{name}: {section(name).TITLE}")
        start = time.monotonic()
        run = {"command": command, "accelerators": accelerators, **machine.describe()}
        cells = section(name).measure(settings)
        run["minutes"] = (time.monotonic() - start) / 60
        run["load_after"] = [round(value, 1) for value in os.getloadavg()]
        # After each section, so that a run that is cut short keeps what it has.
        store.save_section(folder, name, run, cells)
    say("done")


if __name__ == "__main__":
    sys.exit(main())
