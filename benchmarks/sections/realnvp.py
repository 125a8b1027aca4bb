"""RealNVP in both directions."""

from benchmarks.sections.comparison import measure_grid, times_tables

TITLE = "RealNVP"
ABOUT = """8 affine couplings, D = 64, networks with hidden layers 2x128, batch 256. distrax has
no networks; its conditioner is a plain function of dense layers."""
OPERATIONS = ("score", "score_grad", "sample", "sample_grad")


def measure(settings):
    operations = ("score_grad", "sample") if settings.quick else OPERATIONS
    return measure_grid(settings, "realnvp", operations, [(64, 128)], layers=8, accelerators=False)


def render(cells):
    return times_tables(cells, OPERATIONS)
