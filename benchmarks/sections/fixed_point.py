"""Sweep against fixed point, for random and for trained weights."""

import dataclasses
import tempfile
from pathlib import Path

from benchmarks import training
from benchmarks.case import Case
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.progress import say
from benchmarks.rounds import Field
from benchmarks.sections.comparison import BACKEND_TITLES
from benchmarks.statistics import ratio, typical
from benchmarks.tables import milliseconds, scientific, spread, table
from benchmarks.workers import Worker, WorkerError

TITLE = "Sweep against fixed point"
ABOUT = """Sampling from our MAF, 5 layers, without gradient, by each setting of `inverse`.
Trained: fitted by maximum likelihood to a Gaussian chain whose neighbours have correlation 0.99.
Iterations are those of each layer's fixed point in the order in which they run, the largest over
the batch. The error is the largest |x - x64| over the largest |x64|, where x64 comes from the
sweep in float64 with the same weights."""
CHOICES = ("sweep", "fixed_point", "auto")
STEPS = 2000


def measure(settings):
    with tempfile.TemporaryDirectory() as folder:
        cells = []
        for weights, dim, hidden, path, fit in _flows(settings, Path(folder)):
            for backend in BACKENDS:
                for device in settings.devices[backend]:
                    say(f"  {backend} on {device}, {weights} weights, D={dim}, hidden 2x{hidden}")
                    labels = {"backend": backend, "device": device, "dim": dim, "hidden": hidden}
                    labels |= {"weights": weights, "operation": "sample", "fit": fit}
                    case = Case("maf", dim, hidden=hidden, weights=path, device=device)
                    cells += _cells(settings, labels, case)
        return cells


def _flows(settings, folder):
    """(kind of weights, dim, hidden, file of weights, what the fit reached)."""
    dims, widths = ((64,), (128,)) if settings.quick else ((16, 64, 256), (128, 512))
    for dim in dims:
        for hidden in widths:
            yield "random", dim, hidden, None, None
    for dim in () if settings.quick else (32, 64):
        say(f"  training at D={dim}")
        path = str(folder / f"trained-{dim}.npz")
        with Worker(OURS["torch"]) as worker:
            fit = worker.ask("train", dim=dim, path=path, steps=STEPS)
        yield "trained", dim, training.HIDDEN, path, fit


def _cells(settings, labels, case):
    cells = []
    library = OURS[labels["backend"]]
    with Field(settings, dict.fromkeys(CHOICES, library), labels["device"]) as field:
        for batch in (256,) if settings.quick else (16, 256, 2048):
            cases = {
                choice: dataclasses.replace(case, batch=batch, inverse=choice) for choice in CHOICES
            }
            entries = field.measure(cases, "sample")
            # Errors at one batch size only: they do not depend on it.
            exact = batch == 256
            for choice, entry in entries.items():
                if "skipped" not in entry and (exact or choice == "auto"):
                    worker = field.workers[choice]
                    entry["sequential"] = _sequential(worker, cases[choice], exact)
            cells.append({**labels, "batch": batch, "entries": entries})
    return cells


def _sequential(worker, case, exact):
    try:
        return worker.ask("sequential", case=case.to_dict(), exact=exact)
    except WorkerError as error:
        return {"failed": str(error)}


def render(cells):
    header = ["backend", "weights", "D / hidden", "batch", *(f"{c}, ms" for c in CHOICES)]
    header += ["fixed point / sweep (spread)", "faster", "auto chose", "iterations", "residual"]
    header += ["error, sweep", "error, fixed point"]
    rows, notes = [], {}
    for cell in cells:
        said = {c: cell["entries"][c].get("sequential", {}) for c in CHOICES}
        quotient = ratio(cell, "fixed_point", "sweep")
        faster = "-"
        if quotient is not None:
            faster = "sweep" if quotient.median > 1 else "fixed_point"
        where = "" if cell["device"] == "cpu" else f" on {cell['device']}"
        rows.append(
            [
                BACKEND_TITLES[cell["backend"]] + where,
                cell["weights"],
                f"{cell['dim']} / {cell['hidden']}",
                str(cell["batch"]),
                *(milliseconds(typical(cell, choice)) for choice in CHOICES),
                spread(quotient),
                faster,
                ", ".join(dict.fromkeys(said["auto"].get("methods", ["-"]))),
                _iterations(said["fixed_point"].get("iterations")),
                scientific(_largest(said["fixed_point"].get("residuals"))),
                scientific(said["sweep"].get("error")),
                scientific(said["fixed_point"].get("error")),
            ]
        )
        for choice in CHOICES:
            reason = cell["entries"][choice].get("skipped") or said[choice].get("failed")
            if reason:
                notes[f"{choice}: {reason}"] = True
        if cell["fit"]:
            reached, best = cell["fit"]["loss"], cell["fit"]["entropy"]
            text = f"Trained, D = {cell['dim']}: {cell['fit']['steps']} steps; {reached:.2f} nats"
            notes[f"{text} on fresh data, {best:.2f} is the best possible."] = True
    return [*table(header, rows), "", *(line for note in notes for line in (note, ""))]


def _largest(found):
    numbers = [value for value in found or () if value is not None]
    return max(numbers, default=None)


def _iterations(found):
    if not found:
        return "-"
    return " ".join("-" if value is None else f"{value:.0f}" for value in found)
