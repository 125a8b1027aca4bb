"""What the sections that compare libraries share: measuring a grid of sizes, tables of times."""

from benchmarks.case import OPERATION_TITLES, Case
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.progress import say
from benchmarks.rounds import Field
from benchmarks.statistics import fastest_peer, speedup, typical
from benchmarks.tables import milliseconds, spread, table

BACKEND_TITLES = {"torch": "torch", "jax": "JAX"}


def measure_grid(settings, family, operations, sizes, *, layers=5, ours_only=(), accelerators=True):
    """Cells of every backend, device, size and operation.

    Args:
        settings: the run's `Settings`.
        family: kind of flow.
        operations: what is measured of every library.
        sizes: (dim, hidden) pairs.
        layers: layers of each flow.
        ours_only: operations measured of ours alone.
        accelerators: whether devices other than the CPU take part.
    """
    cells = []
    for backend in BACKENDS:
        names = settings.libraries(backend, family)
        for device in settings.devices[backend]:
            if device != "cpu" and not accelerators:
                continue
            # One process of each library for all sizes: starting them takes longer than measuring.
            with Field(settings, {name: name for name in names}, device) as field:
                for dim, hidden in sizes:
                    width = f", hidden 2x{hidden}" if hidden else ""
                    say(f"  {backend} on {device}, D={dim}{width}")
                    labels = {"backend": backend, "device": device, "dim": dim, "hidden": hidden}
                    case = Case(family, dim, hidden=hidden, layers=layers, device=device)
                    for operation in (*operations, *ours_only):
                        taking_part = [OURS[backend]] if operation in ours_only else names
                        entries = field.measure(dict.fromkeys(taking_part, case), operation)
                        cells.append({**labels, "operation": operation, "entries": entries})
    return cells


def groups(cells, *labels):
    """(values of the labels, cells that share them), in order of appearance."""
    found = {}
    for cell in cells:
        found.setdefault(tuple(cell.get(label) for label in labels), []).append(cell)
    return found.items()


def times_tables(cells, operations, *, size_title="D / hidden"):
    """A table of times for each backend, device and operation, with the reasons for gaps."""
    lines = []
    for (backend, device, operation), group in groups(cells, "backend", "device", "operation"):
        if operation in operations:
            on = "" if device == "cpu" else f", on {device} (wall time)"
            title = f"{BACKEND_TITLES[backend]}, {OPERATION_TITLES[operation]}{on}"
            lines += [f"**{title}**: milliseconds", ""]
            lines += _times_table(group, OURS[backend], size_title)
    return lines


def _times_table(cells, ours, size_title):
    names = list(dict.fromkeys(name for cell in cells for name in cell["entries"]))
    header = [size_title, *names, "fastest peer", "fastest peer / ours (spread)"]
    rows, gaps = [], {}
    for cell in cells:
        entries = cell["entries"]
        for name, entry in entries.items():
            if "skipped" in entry:
                gaps.setdefault((name, entry["skipped"]), []).append(size_of(cell))
        rows.append(
            [
                size_of(cell),
                *(milliseconds(typical(cell, name)) for name in names),
                fastest_peer(cell, ours) or "-",
                spread(speedup(cell, ours)),
            ]
        )
    lines = [*table(header, rows), ""]
    for (name, reason), sizes in gaps.items():
        lines += [f"`-` {name} at {', '.join(sizes)}: {reason}", ""]
    return lines


def size_of(cell):
    """The cell's size as the tables show it."""
    return f"{cell['dim']} / {cell['hidden']}" if cell.get("hidden") else str(cell["dim"])


def curves_by_library(cells, operation, hidden):
    """Backend -> library -> (dims, seconds) on the CPU, for `pictures.log_log`."""
    panels = {}
    for cell in cells:
        if (cell["operation"], cell["hidden"], cell["device"]) != (operation, hidden, "cpu"):
            continue
        curves = panels.setdefault(f"D ({BACKEND_TITLES[cell['backend']]})", {})
        for name in cell["entries"]:
            seconds = typical(cell, name)
            if seconds is not None:
                dims, times = curves.setdefault(name, ([], []))
                dims.append(cell["dim"])
                times.append(seconds)
    return panels
