"""Peak memory of sampling with gradient."""

import statistics as stdlib

from benchmarks.case import Case
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.progress import say
from benchmarks.sections.comparison import BACKEND_TITLES, groups
from benchmarks.tables import number, table
from benchmarks.workers import Worker, WorkerError

TITLE = "Peak memory of sampling with gradient"
ABOUT = """Megabytes beyond weights and input, 5 layers, hidden 2x128, batch 256. torch: growth of
resident memory in a fresh process (median of several) while one call runs, after a first call;
JAX: temporary memory of the compiled program. "Own scoring": the same figure of scoring with
gradient in our library."""
# Those that need least, and one for each backend that runs at every D.
PEERS = ("pyro", "normflows", "numpyro", "flowjax")


def measure(settings):
    cells = []
    for backend in BACKENDS:
        for dim in settings.dims:
            say(f"  {backend}, D={dim}")
            case = Case("maf", dim)
            repeats = 3 if backend == "torch" and not settings.quick else 1
            ours = OURS[backend]
            for operation in ("sample_grad", "score_grad"):
                names = _names(settings, backend)
                entries = {
                    name: _entry(name, case, operation, repeats if name == ours else 1)
                    for name in (names if operation == "sample_grad" else [ours])
                }
                labels = {"backend": backend, "device": "cpu", "dim": dim, "hidden": 128}
                cells.append({**labels, "operation": operation, "entries": entries})
    return cells


def _names(settings, backend):
    peers = PEERS[::2] if settings.quick else PEERS
    return [n for n in settings.libraries(backend, "maf") if n in peers or n == OURS[backend]]


def _entry(name, case, operation, repeats):
    found = []
    for _ in range(repeats):
        with Worker(name, memory=True) as worker:
            try:
                reply = worker.ask("prepare", case=case.to_dict(), operation=operation)
                if "skipped" in reply:
                    return reply
                found.append(worker.ask("memory", handle=reply["handle"])["bytes"])
            except WorkerError as error:
                return {"skipped": str(error)}
    return {"bytes": found}


def megabytes(cell, name):
    """Median of the repeats, or None."""
    found = cell["entries"].get(name, {}).get("bytes")
    return stdlib.median(found) / 1e6 if found else None


def own_ratio(group, ours):
    """Sampling with gradient over scoring with gradient, ours; None if one is missing."""
    by_operation = {cell["operation"]: megabytes(cell, ours) for cell in group}
    sample, score = by_operation.get("sample_grad"), by_operation.get("score_grad")
    return sample / score if sample and score else None


def render(cells):
    lines = []
    for (backend,), of_backend in groups(cells, "backend"):
        ours = OURS[backend]
        names = list(dict.fromkeys(name for cell in of_backend for name in cell["entries"]))
        rows = []
        for (dim,), group in groups(of_backend, "dim"):
            by_operation = {cell["operation"]: cell for cell in group}
            sampling = by_operation["sample_grad"]
            peers = [megabytes(sampling, name) for name in names if name != ours]
            own = megabytes(sampling, ours)
            best = min((peer for peer in peers if peer is not None), default=None)
            rows.append(
                [
                    str(dim),
                    *(number(megabytes(sampling, name)) for name in names),
                    number(megabytes(by_operation["score_grad"], ours)),
                    number(own_ratio(group, ours)),
                    number(best / own if best and own else None),
                ]
            )
        header = ["D", *names, "own scoring", "ours / own scoring", "best peer / ours"]
        lines += [f"**{BACKEND_TITLES[backend]}**: MB", "", *table(header, rows), ""]
    return lines
