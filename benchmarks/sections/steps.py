"""What `fit_guide` costs beside the arithmetic of a step."""

from benchmarks.case import PARTICLES
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.progress import say
from benchmarks.rounds import Field
from benchmarks.sections.comparison import BACKEND_TITLES, groups
from benchmarks.statistics import ratio, typical
from benchmarks.steps.case import DIM, HIDDEN, StepCase
from benchmarks.tables import milliseconds, spread, table

TITLE = "Overhead of a step"
ABOUT = """One step of Adam on the ELBO of a Gaussian with 64 coordinates: an IAF of 3 layers,
hidden 2x64, Normal base, total gradient. `fit_guide`: its steps, as it takes them. "own SVI": the
same guide under the PPL's SVI, Adam and Trace_ELBO (particles vectorised, validation as the PPL
has it). "AutoIAFNormal": the PPL's own guide there, 3 layers of the same networks, without the
two affine layers that our guide ends in. "bare": the same flow, drawn from and scored by hand,
Adam and clipping, no PPL. "Student-t": `fit_guide` with its default base, whose draws cost more.
In torch a call takes 20 steps, in JAX 200 (40 with 256 particles), compiled as one loop; times
are of one step."""
# Name -> what takes the steps, and whose process it runs in.
COMPETITORS = {
    "fit_guide": {"loop": "fit_guide"},
    "svi": {"loop": "svi"},
    "auto_iaf_normal": {"loop": "auto_iaf_normal"},
    "bare": {"loop": "bare"},
    "student_t": {"loop": "fit_guide", "base": "student_t"},
}
QUICK = ("fit_guide", "auto_iaf_normal", "bare")
COLUMNS = ("fit_guide", "own SVI", "AutoIAFNormal", "bare", "Student-t")


def measure(settings):
    cells = []
    for backend in BACKENDS:
        names = QUICK if settings.quick else tuple(COMPETITORS)
        with Field(settings, dict.fromkeys(names, OURS[backend])) as field:
            for count in PARTICLES[:: 2 if settings.quick else 1]:
                say(f"  {backend}, {count} particles")
                cases = {name: StepCase(particles=count, **COMPETITORS[name]) for name in names}
                cells.append(
                    {
                        **labels(backend, f"step_{count}"),
                        "particles": count,
                        "entries": measured(field, cases, backend),
                    }
                )
    return cells


def labels(backend, operation):
    """What a cell of steps is found by."""
    return {
        "backend": backend, "device": "cpu", "dim": DIM, "hidden": HIDDEN, "operation": operation
    }  # fmt: skip


def measured(field, cases, backend):
    """Entries of several loops, in seconds per step."""
    entries = field.measure(cases, "step")
    for name, entry in entries.items():
        steps = cases[name].steps(backend)
        for kind in ("cpu", "wall"):
            if kind in entry:
                entry[kind] = [seconds / steps for seconds in entry[kind]]
    return entries


def render(cells):
    lines = []
    header = ["particles", *COLUMNS, "own SVI / fit_guide", "AutoIAFNormal / fit_guide"]
    header += ["fit_guide / bare (spread)"]
    for (backend,), group in groups(cells, "backend"):
        rows = [
            [
                str(cell["particles"]),
                *(milliseconds(typical(cell, name)) for name in COMPETITORS),
                spread(ratio(cell, "svi", "fit_guide")),
                spread(ratio(cell, "auto_iaf_normal", "fit_guide")),
                spread(ratio(cell, "fit_guide", "bare")),
            ]
            for cell in group
        ]
        lines += [f"**{BACKEND_TITLES[backend]}**: milliseconds a step", ""]
        lines += [*table(header, rows), "", *reasons(group)]
    return lines


def reasons(cells):
    """Lines that say why something was not measured."""
    lines = []
    for cell in cells:
        for name, entry in cell["entries"].items():
            if "skipped" in entry:
                where = f"{name}, {cell['particles']} particles"
                lines += [f"`-` {where}: {entry['skipped']}", ""]
    return lines
