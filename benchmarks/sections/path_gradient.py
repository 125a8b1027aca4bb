"""The path gradient beside the total gradient: time of a step, and steps to an ELBO."""

import numpy as np

from benchmarks.case import GUIDES, PARTICLES
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.pictures import bands
from benchmarks.progress import say
from benchmarks.rounds import Field
from benchmarks.sections.comparison import BACKEND_TITLES, groups
from benchmarks.sections.steps import labels, measured, reasons
from benchmarks.statistics import ratio, typical
from benchmarks.steps.case import StepCase
from benchmarks.tables import milliseconds, number, spread, table
from benchmarks.workers import Worker

TITLE = "The path gradient"
ABOUT = """Time: steps of `fit_guide` as above, by either gradient; AutoIAF has 3 layers,
AutoRealNVP 8, hidden 2x64. Steps: AutoIAF, 3 layers, 16 particles, a constant rate of 0.003, no
warm start, several seeds. The target has 16 coordinates, 8 standard Normal ones and 8 that are
Normal around a parabola of the others; its evidence is 1 and the guide can become it, so that the
KL divergence is minus the ELBO and goes to 0. The ELBO is measured with 4096 draws after every 50
steps, and the table says after how many steps the median over the seeds was first below a
divergence."""
GRADIENTS = ("total", "path")
RATE = 3e-3
EVERY = 50
SIZES = (*(("iaf", count) for count in PARTICLES), ("realnvp", 16))
QUICK_SIZES = (("iaf", 16),)
LEVELS = (3.0, 2.0, 1.0, 0.5)


def measure(settings):
    cells = []
    for backend in BACKENDS:
        with Field(settings, dict.fromkeys(GRADIENTS, OURS[backend])) as field:
            for family, count in QUICK_SIZES if settings.quick else SIZES:
                say(f"  {backend}, {family}, {count} particles")
                cases = {
                    gradient: StepCase("fit_guide", count, family=family, gradient=gradient)
                    for gradient in GRADIENTS
                }
                cell = labels(backend, f"path_{family}_{count}")
                cell |= {"family": family, "particles": count}
                cells.append({**cell, "entries": measured(field, cases, backend)})
        cells += [_curve(settings, backend, gradient) for gradient in GRADIENTS]
    return cells


def _curve(settings, backend, gradient):
    steps, seeds = (500, 1) if settings.quick else (2000, 3)
    say(f"  {backend}, curve of the {gradient} gradient")
    case = StepCase("fit_guide", 16, gradient=gradient).to_dict()
    with Worker(OURS[backend]) as worker:
        found = [
            worker.ask("curve", case=case, steps=steps, every=EVERY, rate=RATE, seed=seed)
            for seed in range(seeds)
        ]
    return {
        **labels(backend, "curve"),
        "gradient": gradient,
        "steps": list(range(0, steps + 1, EVERY)),
        "kl": [one["kl"] for one in found],
        "entries": {},
    }


def steps_to(cell, level):
    """Steps after which the median over the seeds was first below a divergence, or None."""
    below = np.median(cell["kl"], axis=0) <= level
    return cell["steps"][int(np.argmax(below))] if below.any() else None


def render(cells):
    lines = []
    for (backend,), group in groups(cells, "backend"):
        timed = [cell for cell in group if "family" in cell]
        rows = [
            [
                f"{GUIDES[cell['family']]}, {cell['particles']}",
                *(milliseconds(typical(cell, gradient)) for gradient in GRADIENTS),
                spread(ratio(cell, "path", "total")),
            ]
            for cell in timed
        ]
        lines += [f"**{BACKEND_TITLES[backend]}**: milliseconds a step", ""]
        header = ["guide, particles", *GRADIENTS, "path / total (spread)"]
        lines += [*table(header, rows), "", *reasons(timed)]
    return lines + _steps_table([cell for cell in cells if cell["operation"] == "curve"])


def _steps_table(curves):
    rows = []
    for cell in curves:
        last = sorted(one[-1] for one in cell["kl"])
        found = [steps_to(cell, level) for level in LEVELS]
        rows.append(
            [
                f"{BACKEND_TITLES[cell['backend']]}, {cell['gradient']} gradient",
                *("-" if steps is None else str(steps) for steps in found),
                f"{number(float(np.median(last)))} ({number(last[0])} to {number(last[-1])})",
            ]
        )
    if not rows:
        return []
    header = ["steps to a divergence of", *map(str, LEVELS)]
    header += [f"after {curves[0]['steps'][-1]} (of {len(curves[0]['kl'])} seeds)"]
    return [*table(header, rows), ""]


def pictures(cells):
    """Divergences against steps, a panel for each backend."""
    panels = {}
    for cell in cells:
        if cell["operation"] == "curve":
            panel = panels.setdefault(f"steps ({BACKEND_TITLES[cell['backend']]})", {})
            panel[f"{cell['gradient']} gradient"] = (cell["steps"], cell["kl"])
    return {"path_gradient.png": bands(panels, "evidence - ELBO, nats")} if panels else {}
