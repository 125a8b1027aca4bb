"""A coupling of images, in both directions."""

from benchmarks.sections.comparison import measure_grid, times_tables

TITLE = "Coupling of images"
ABOUT = """One affine coupling of images of 12 channels and 8x8 pixels by halves of the channels, a
network of three 3x3 convolutions with 32 hidden channels, batch 256."""
OPERATIONS = ("score", "score_grad", "sample", "sample_grad")


def measure(settings):
    sizes = [(12 * 8 * 8, 32)]
    return measure_grid(settings, "image_coupling", OPERATIONS, sizes, layers=1, accelerators=False)


def render(cells):
    return times_tables(cells, OPERATIONS, size_title="numbers / hidden channels")
