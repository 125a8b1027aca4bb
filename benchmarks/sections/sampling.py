"""Sampling from a MAF, without gradient."""

from benchmarks.libraries import OURS
from benchmarks.pictures import log_log
from benchmarks.sections.comparison import (
    BACKEND_TITLES,
    curves_by_library,
    groups,
    measure_grid,
    size_of,
    times_tables,
)
from benchmarks.statistics import typical
from benchmarks.tables import number, table

TITLE = "Sampling from a MAF"
ABOUT = """x from z, 5 layers, batch 256, no gradient. Peers call the whole network D times; ours
evaluates each hidden unit once. The second table gives the same times in units of the library's
own scoring pass, which carries over between machines."""


def measure(settings):
    sizes = [(dim, width) for width in settings.widths for dim in settings.dims]
    return measure_grid(settings, "maf", ("sample",), sizes, ours_only=("score",))


def render(cells):
    lines = times_tables(cells, ("sample",))
    rows = []
    keys = ("backend", "device", "dim", "hidden")
    for (backend, device, _, _), group in groups(cells, *keys):
        ours = OURS[backend]
        by_operation = {cell["operation"]: cell for cell in group}
        sample, score = (typical(by_operation[o], ours) for o in ("sample", "score"))
        if sample and score:
            passes = number(sample / score)
            rows.append([BACKEND_TITLES[backend], device, size_of(group[0]), passes])
    header = ["backend", "device", "D / hidden", "our sampling in our scoring passes"]
    return [*lines, *table(header, rows)]


def pictures(cells):
    """Times of every library at hidden 2x128."""
    panels = curves_by_library(cells, "sample", 128)
    return {"sampling.png": log_log(panels, "ms per call")} if panels else {}
