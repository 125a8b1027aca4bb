"""A guide of four thousand latents: whether it trains, what it learns and what that costs."""

from benchmarks import horseshoe
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.progress import say
from benchmarks.sections.comparison import BACKEND_TITLES
from benchmarks.tables import number, table
from benchmarks.workers import Worker, WorkerError

TITLE = "Four thousand latents"
ABOUT = """Logistic regression with a regularised horseshoe on generated data: 2000 coefficients, 20
of them not zero, 1000 rows; coefficients, local scales, tau and slab make 4002 latents. Ours alone,
`fit_guide` as it comes (warm start, 16 particles, its own learning rate) with a stated number of
steps. Skipped are steps whose loss or gradient was not finite. Log-loss is that of 4000 held-out
rows, in nats per label; ridge and lasso have the penalty that is best on those very rows. Found
are signals whose 90 % interval leaves out zero, false are other coefficients of which the same is
true; coverage is the share of signals in their intervals. Times are per step, memory is what the
process grew by at its peak, warm start and evaluation included."""
PROBLEM = {"dim": 2000, "rows": 1000, "signals": 20}
QUICK = {"dim": 200, "rows": 400, "signals": 5}
GUIDES = (("AutoIAF", {"num_layers": 2, "hidden_dims": (32, 32)}),)
STEPS = 1500


def measure(settings):
    problem = QUICK if settings.quick else PROBLEM
    steps = 300 if settings.quick else STEPS
    rivals = horseshoe.rivals(horseshoe.sparse(**problem))
    cells = []
    for backend in BACKENDS:
        for guide in GUIDES:
            say(f"  {backend}, {guide[0]}")
            labels = {"backend": backend, "device": "cpu", "guide": guide, "budget": steps}
            with Worker(OURS[backend]) as worker:
                try:
                    fit = worker.ask("large_fit", **problem, guide=guide, num_steps=steps)
                except WorkerError as error:
                    fit = {"failed": str(error)}
            cells.append({**labels, **problem, "rivals": rivals, "fit": fit})
    return cells


def render(cells):
    header = ["", "latents", "steps", "skipped", "loss at first", "loss at last (error)"]
    header += ["log-loss", "found", "false", "coverage"]
    header += ["ms, CPU", "ms, wall", "minutes", "memory, MiB"]
    rows = []
    for cell in cells:
        name, arguments = cell["guide"]
        size = f"{arguments['num_layers']} layers, {'x'.join(map(str, arguments['hidden_dims']))}"
        title = f"{BACKEND_TITLES[cell['backend']]}, {name} ({size})"
        fit = cell["fit"]
        if "failed" in fit:
            rows.append([title, fit["failed"], *["-"] * (len(header) - 2)])
            continue
        rows.append(
            [
                title,
                fit["latents"],
                f"{fit['steps']} ({fit['stopped']})",
                fit["skipped"],
                number(fit["first_loss"]),
                f"{-fit['elbo']:.1f} ({fit['elbo_stderr']:.1f})",
                number(fit["log_loss"]),
                f"{fit['found']} of {cell['signals']}",
                fit["false"],
                number(fit["coverage"]),
                number(1e3 * fit["cpu"]),
                number(1e3 * fit["wall"]),
                number(fit["seconds"] / 60),
                number(fit["bytes"] / 2**20),
            ]
        )
    rivals = cells[0]["rivals"] if cells else {}
    told = ", ".join(f"{name} {number(value)}" for name, value in rivals.items())
    return [*table(header, rows), "", f"Log-loss of others: {told}."]
