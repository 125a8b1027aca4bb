"""Scoring with a MAF, with and without gradient."""

from benchmarks.sections.comparison import measure_grid, times_tables

TITLE = "Scoring with a MAF"
ABOUT = """z and log-determinant from x: one pass in every library. With gradient: to x and every
weight. 5 layers, batch 256."""
OPERATIONS = ("score", "score_grad")


def measure(settings):
    sizes = [(dim, width) for width in settings.widths for dim in settings.dims]
    return measure_grid(settings, "maf", OPERATIONS, sizes)


def render(cells):
    return times_tables(cells, OPERATIONS)
