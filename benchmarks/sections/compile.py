"""Compile time in JAX."""

from benchmarks.case import Case
from benchmarks.progress import say
from benchmarks.sections.comparison import times_tables
from benchmarks.workers import Worker, WorkerError

TITLE = "Compile time in JAX"
ABOUT = """Tracing, lowering and compiling, CPU time on one core, in a fresh process with the
persistent cache off. 5 layers, hidden 2x128, batch 256."""
OPERATIONS = ("score", "sample_grad")


def measure(settings):
    cells = []
    for dim in settings.dims:
        say(f"  D={dim}")
        names = settings.libraries("jax", "maf")
        entries = {operation: {name: {} for name in names} for operation in OPERATIONS}
        for _ in range(1 if settings.quick else 2):
            for name in names:
                _one_round(name, dim, {o: entries[o][name] for o in OPERATIONS})
        for operation in OPERATIONS:
            labels = {"backend": "jax", "device": "cpu", "dim": dim, "hidden": 128}
            cells.append({**labels, "operation": operation, "entries": entries[operation]})
    return cells


def _one_round(name, dim, entries):
    """Compile each operation once in a fresh process and append what it took."""
    with Worker(name) as worker:
        for operation, entry in entries.items():
            if "skipped" in entry:
                continue
            try:
                case = Case("maf", dim).to_dict()
                reply = worker.ask("prepare", case=case, operation=operation)
            except WorkerError as error:
                reply = {"skipped": str(error)}
            if "skipped" in reply:
                entry.clear()
                entry["skipped"] = reply["skipped"]
                continue
            for field in ("cpu", "wall"):
                entry.setdefault(field, []).append(reply["compile"][field])


def render(cells):
    return times_tables(cells, OPERATIONS)
