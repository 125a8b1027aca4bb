"""Planar flows, from base to data and back."""

from benchmarks.sections.comparison import measure_grid, times_tables

TITLE = "Planar"
ABOUT = (
    """8 planar layers with tanh, D = 64, batch 256. Pyro's have no inverse, so it cannot score."""
)
OPERATIONS = ("sample", "sample_grad", "score", "score_grad")


def measure(settings):
    return measure_grid(settings, "planar", OPERATIONS, [(64, 0)], layers=8, accelerators=False)


def render(cells):
    return times_tables(cells, OPERATIONS, size_title="D")
