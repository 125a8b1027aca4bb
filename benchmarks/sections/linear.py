"""The LU-linear layer."""

from benchmarks.sections.comparison import measure_grid, times_tables

TITLE = "LU-linear"
ABOUT = """x = L U z + shift at batch 256. Sampling multiplies, scoring solves two triangular
systems; both give the log-determinant too. The last tables are the log-determinant alone. Pyro's
trainable linear map is the 1x1 convolution of Glow, here on images of one pixel."""
OPERATIONS = ("sample", "score", "log_det", "sample_grad", "score_grad")


def measure(settings):
    dims = (64,) if settings.quick else (64, 256, 1024)
    sizes = [(dim, 0) for dim in dims]
    return measure_grid(settings, "lu", OPERATIONS, sizes, layers=1, accelerators=False)


def render(cells):
    return times_tables(cells, OPERATIONS, size_title="D")
