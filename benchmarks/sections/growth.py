"""How our times grow with the number of coordinates and with the width."""

from benchmarks.case import OPERATION_TITLES, Case
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.pictures import log_log
from benchmarks.progress import say
from benchmarks.rounds import Field
from benchmarks.sections.comparison import BACKEND_TITLES
from benchmarks.statistics import typical
from benchmarks.tables import milliseconds, number, table
from flowkit_core.plots import growth_exponent

TITLE = "Growth"
ABOUT = """Ours alone, 5 layers, batch 256: against D at hidden 2x128, and against the width of
both hidden layers at D = 64. The exponent is the slope in the logarithmic plot over the upper
half of the sizes."""
OPERATIONS = ("score", "sample")
AXES = {"dim": "D", "hidden": "width"}


def measure(settings):
    dims = (16, 64, 256) if settings.quick else (8, 16, 32, 64, 128, 256, 512, 1024)
    widths = () if settings.quick else (32, 64, 128, 256, 512, 1024, 2048)
    sizes = [("dim", dim, 128) for dim in dims] + [("hidden", 64, width) for width in widths]
    cells = []
    for backend in BACKENDS:
        ours = OURS[backend]
        for axis, dim, hidden in sizes:
            say(f"  {backend}, D={dim}, hidden 2x{hidden}")
            labels = {"backend": backend, "device": "cpu", "dim": dim, "hidden": hidden}
            with Field(settings, {ours: ours}) as field:
                for operation in OPERATIONS:
                    entries = field.measure({ours: Case("maf", dim, hidden=hidden)}, operation)
                    cells.append(
                        {**labels, "axis": axis, "operation": operation, "entries": entries}
                    )
    return cells


def curves(cells, axis):
    """(backend, operation) -> (sizes, seconds)."""
    found = {}
    for cell in cells:
        seconds = typical(cell, OURS[cell["backend"]])
        if cell["axis"] == axis and seconds is not None:
            sizes, times = found.setdefault((cell["backend"], cell["operation"]), ([], []))
            sizes.append(cell[axis])
            times.append(seconds)
    return found


def render(cells):
    lines = []
    for axis, title in AXES.items():
        found = curves(cells, axis)
        if not found:
            continue
        sizes = sorted({size for xs, _ in found.values() for size in xs})
        rows = []
        for (backend, operation), (xs, seconds) in found.items():
            at = dict(zip(xs, seconds, strict=True))
            rows.append(
                [
                    f"{BACKEND_TITLES[backend]}, {OPERATION_TITLES[operation]}",
                    *(milliseconds(at.get(size)) for size in sizes),
                    number(growth_exponent(xs, seconds)),
                ]
            )
        header = [f"milliseconds at {title} =", *map(str, sizes), "exponent"]
        lines += [*table(header, rows), ""]
    return lines


def pictures(cells):
    """One panel per axis."""
    panels = {}
    for axis, title in AXES.items():
        found = curves(cells, axis)
        if found:
            panels[title] = {
                f"{BACKEND_TITLES[backend]}, {OPERATION_TITLES[operation]}": curve
                for (backend, operation), curve in found.items()
            }
    return {"growth.png": log_log(panels, "ms per call")}
