"""The invertible 1x1 convolution."""

from benchmarks.sections.comparison import measure_grid, times_tables

TITLE = "1x1 convolution"
ABOUT = """Glow's invertible 1x1 convolution by its LU factors, on images of 12 channels and 8x8
pixels and of 48 and 8x8, batch 256."""
OPERATIONS = ("score", "score_grad", "sample", "sample_grad")


def measure(settings):
    channels = (12,) if settings.quick else (12, 48)
    sizes = [(count * 8 * 8, 0) for count in channels]
    return measure_grid(settings, "conv1x1", OPERATIONS, sizes, layers=1, accelerators=False)


def render(cells):
    return times_tables(cells, OPERATIONS, size_title="numbers")
