"""Sylvester flows, from base to data and back."""

from benchmarks.sections.comparison import measure_grid, times_tables

TITLE = "Sylvester"
ABOUT = """4 Sylvester layers of full rank, Q of one Householder reflection, as in Pyro, D = 64,
batch 256. Pyro's have no inverse, so it cannot score, and another log-determinant than that of
their Jacobian; it takes as long to compute."""
OPERATIONS = ("sample", "sample_grad", "score", "score_grad")


def measure(settings):
    return measure_grid(settings, "sylvester", OPERATIONS, [(64, 0)], layers=4, accelerators=False)


def render(cells):
    return times_tables(cells, OPERATIONS, size_title="D")
