"""Command line: `python -m benchmarks.quality`; see `--help`, or `make quality`."""

import argparse
import sys
from pathlib import Path

from benchmarks.progress import say
from benchmarks.quality import folder, provenance, report, store, synthetic
from benchmarks.quality.budget import FULL, QUICK
from benchmarks.quality.cells import DTYPES, WINGS, plan
from benchmarks.quality.pool import run_all

_ROOT = Path(__file__).parents[2]
POSTERIORS = _ROOT.parent / "shared" / "posteriordb"
# Rows as they come, so that a run that is cut short can be taken up again.
RUNNING = _ROOT / ".cache" / "quality"
RUNNING_QUICK = _ROOT / ".cache" / "quality-quick"
RESULTS = _ROOT / "benchmarks"


def main(arguments=None):
    """Run what the arguments say; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.report:
        print(report.write(RESULTS, store.load(RESULTS)))
        return 0
    budget, running = (QUICK, RUNNING_QUICK) if options.quick else (FULL, RUNNING)
    cells = plan(
        _targets(options, parser), options.wings, options.dtypes,
        1 if options.quick else options.seeds, peers=not options.skip_peers,
    )  # fmt: skip
    if options.fresh:
        store.forget(running, cells)
    try:
        _measure(store.missing(running, cells), len(cells), budget, running, options)
    finally:  # what an interrupted run has found is reported, too
        results = store.load(running)
        if not options.quick:
            wanted = {cell.target for cell in cells}
            rows = [row for row in results["rows"] if row["target"] in wanted]
            running, results = RESULTS, store.merge(RESULTS, results["runs"], rows)
        print(report.write(running, results))
    return 0


def _measure(todo, count, budget, running, options):
    """Run cells and store what they give, each at once."""
    if len(todo) < count:
        say(f"{count - len(todo)} of {count} fits are there already; --fresh measures them anew")
    run = provenance.describe(options.workers, budget)
    key = f"{run['revision']} {run['date']}"
    outcomes = run_all(todo, budget, options.posteriors, options.workers)
    for number, (cell, figures) in enumerate(outcomes, start=1):
        store.merge(running, {key: run}, [{**cell.to_dict(), "run": key, **figures}])
        say(f"{number}/{len(todo)} {' '.join(map(str, cell.to_dict().values()))}: {_told(figures)}")


def _told(figures):
    if "failure" in figures:
        return figures["failure"]
    return (
        f"KL {figures['kl']:.4f}, k-hat {figures['khat']:.2f}, ESS {100 * figures['ess']:.1f} %, "
        f"{figures['num_steps']} steps, {figures['seconds']:.0f} s"
    )


def _targets(options, parser):
    """Names of what is to be fitted."""
    problem = folder.what_is_missing(options.posteriors)
    if problem:
        say(f"{problem}. Only the synthetic targets are measured.")
    targets = [*([] if problem else folder.names(options.posteriors)), *synthetic.ABOUT]
    if not options.only:
        return targets
    chosen = []
    for part in options.only:
        # A whole name means that target alone, even if another one's name begins with it.
        found = [part] if part in targets else [name for name in targets if part in name]
        if not found:
            parser.error(f"--only: no target has {part!r} in its name; there are {targets}")
        chosen += found
    return [name for name in targets if name in chosen]


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="Fit guides to posteriors whose answers are known, and write QUALITY.md.",
    )
    add = parser.add_argument
    add("--posteriors", type=Path, default=POSTERIORS, metavar="FOLDER",
        help="posteriors in posteriordb's format (default: %(default)s)")  # fmt: skip
    add("--seeds", type=_positive, default=3, metavar="N", help="fits of ours per cell")
    add("--wings", nargs="+", choices=WINGS, default=WINGS)
    add("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    add(
        "--only",
        nargs="+",
        metavar="NAME",
        help="targets of that name, or with that in their names",
    )
    add("--workers", type=_positive, default=2, metavar="N", help="processes side by side")
    add("--skip-peers", action="store_true", help="leave the frameworks' own guides out")
    add("--quick", action="store_true", help="few steps, one seed, into .cache/quality-quick/")
    add("--fresh", action="store_true", help="measure anew what has been measured before")
    add("--report", action="store_true", help="only render QUALITY.md from quality.json")
    return parser


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
