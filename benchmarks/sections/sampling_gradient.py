"""Sampling from a MAF with gradient."""

from benchmarks.pictures import log_log
from benchmarks.sections.comparison import curves_by_library, measure_grid, times_tables

TITLE = "Sampling from a MAF with gradient"
ABOUT = """x and log-determinant from z, and the gradient of a loss of both with respect to z and
every weight: what a reparametrised ELBO costs. 5 layers, hidden 2x128, batch 256. Peers
differentiate through D passes; ours solves one triangular system."""


def measure(settings):
    sizes = [(dim, 128) for dim in settings.dims]
    return measure_grid(settings, "maf", ("sample_grad",), sizes, accelerators=False)


def render(cells):
    return times_tables(cells, ("sample_grad",))


def pictures(cells):
    """Times of every library at hidden 2x128."""
    panels = curves_by_library(cells, "sample_grad", 128)
    return {"sampling_gradient.png": log_log(panels, "ms per call")} if panels else {}
