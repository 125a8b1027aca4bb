"""The aggregated posterior's density over all pairs."""

from benchmarks.all_pairs import KINDS
from benchmarks.libraries import BACKENDS, OURS
from benchmarks.progress import say
from benchmarks.sections.comparison import BACKEND_TITLES
from benchmarks.tables import number, table
from benchmarks.workers import Worker, WorkerError

TITLE = "Aggregated posterior of 50 000 Gaussians"
ABOUT = """`aggregate_log_prob` of diagonal Gaussians in 32 dimensions at as many draws, float32
arrays, all pairs; ours in float64, broadcasting in float32 and in chunks of 20 draws, of which a
few are measured and scaled up. CPU seconds of one thread, in one process, in turns. "Easy": sds 0.1
to 1, means within +-1; "narrow": sds 0.001, means within +-5. "With gradient": by means, sds and
draws. Error: largest of 100 draws against float64 differences, of an answer in float32. Memory:
growth of resident memory during a call. GFLOP/s count the products over all pairs, one for a value
and three with its gradient (which leaves out pairs that count for nothing), beside those of tiles
of 1024 x 1024 alone. JAX without its x64 flag."""
PROBLEM = {"num_data": 50_000, "dim": 32, "num_chunks": 3}
QUICK = {"num_data": 4000, "dim": 32, "num_chunks": 2}
# (backend, with gradient) -> broadcasting over ours.
BARS = {("torch", False): 75, ("torch", True): 45, ("jax", False): 6}
MAX_ERROR, MAX_BYTES = 1e-5, 256 * 2**20


def measure(settings):
    problem = QUICK if settings.quick else PROBLEM
    cells = []
    for backend in BACKENDS:
        for kind in KINDS:
            for gradient in (False, True):
                if (backend, gradient) not in BARS:
                    continue
                say(f"  {backend}, {kind}{', with gradient' * gradient}")
                labels = {"backend": backend, "device": "cpu", "kind": kind, "gradient": gradient}
                with Worker(OURS[backend]) as worker:
                    try:
                        found = worker.ask("all_pairs", kind=kind, gradient=gradient, **problem)
                    except WorkerError as error:
                        found = {"failed": str(error)}
                cells.append({**labels, **problem, "found": found})
    return cells


def render(cells):
    header = ["", "n", "ours, s", "broadcasting, s", "ratio", "bar", "error, nats", "MiB"]
    header += ["GFLOP/s", "of a product"]
    rows = []
    for cell in cells:
        found = cell["found"]
        what = f"{cell['kind']}{', with gradient' * cell['gradient']}"
        title = f"{BACKEND_TITLES[cell['backend']]}, {what}"
        if "failed" in found:
            rows.append([title, found["failed"], *["-"] * (len(header) - 2)])
            continue
        ratio, bar = found["broadcast"] / found["ours"], BARS[cell["backend"], cell["gradient"]]
        rows.append(
            [
                title, cell["num_data"], number(found["ours"]), number(found["broadcast"]),
                _held(number(ratio), ratio >= bar), bar,
                _held(f"{found['error']:.1e}", found["error"] < MAX_ERROR)
                if "error" in found else "-",
                _held(number(found["bytes"] / 2**20), found["bytes"] < MAX_BYTES),
                number(found["gflops"]), number(found["product_gflops"]),
            ]
        )  # fmt: skip
    told = f"In bold what misses its bar: the ratio, an error of {MAX_ERROR:.0e} nats, 256 MiB."
    return [*table(header, rows), "", told]


def _held(text, good):
    return text if good else f"**{text}**"
