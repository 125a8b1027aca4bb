"""The method on trial: ours against itself, in two processes."""

from benchmarks.case import Case
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.rounds import Field
from benchmarks.statistics import ratio_of
from benchmarks.tables import spread, table

TITLE = "How far the method can be trusted"
ABOUT = """The same flow (D = 64, hidden 2x128, scoring) in two processes, measured like two
rivals. What differs from 1 here is noise; differences of that size mean nothing below."""


def measure(settings):
    cells = []
    for backend in BACKENDS:
        ours = OURS[backend]
        labels = {"backend": backend, "device": "cpu", "dim": 64, "hidden": 128}
        with Field(settings, {"first": ours, "second": ours}) as field:
            for operation in ("score", "score_grad"):
                entries = field.measure(
                    dict.fromkeys(("first", "second"), Case("maf", 64)), operation
                )
                cells.append({**labels, "operation": operation, "entries": entries})
    return cells


def render(cells):
    rows = []
    for cell in cells:
        pair = [cell["entries"][name] for name in ("first", "second")]
        row = [cell["backend"], cell["operation"].replace("_grad", " with gradient")]
        for field in ("cpu", "wall"):
            both = all(field in entry for entry in pair)
            row.append(spread(ratio_of(*(entry[field] for entry in pair)) if both else None))
        rows.append(row)
    header = ["backend", "operation", "CPU time, second process / first", "wall time"]
    return table(header, rows)
