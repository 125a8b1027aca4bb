"""The process of one cell: a request on standard input, figures on standard output, in JSON.

A process of its own, since precision is set for a whole process, and parameters of Pyro are shared.
"""

import importlib
import json
import os
import sys
import time
import traceback
import warnings

from benchmarks.quality import folder, synthetic
from benchmarks.quality.budget import Budget
from benchmarks.quality.cells import Cell


def measure(cell, budget, posteriors):
    """Figures of a cell.

    Args:
        cell: what to fit.
        budget: its `Budget`.
        posteriors: folder of the posteriors.
    """
    began = time.monotonic()
    wing = importlib.import_module(f"benchmarks.quality.measure_{cell.wing}")
    wing.prepare(cell.dtype)
    if cell.target in synthetic.ABOUT:
        problem = synthetic.problem(cell.target)
        models = importlib.import_module(f"benchmarks.quality.targets_{cell.wing}").MODELS
        model = models[cell.target]
    else:
        problem = folder.problem(posteriors, cell.target)
        model = folder.model(posteriors, cell.wing, cell.target)
    if cell.is_peer:
        seconds, figures = wing.measure_peer(model, problem, cell, budget)
        fit = {"num_steps": budget.num_steps, "seconds": seconds}
    else:
        result, figures = wing.measure_ours(model, problem, cell, budget)
        names = ("num_steps", "stopped", "skipped_steps", "falls", "seconds")
        fit = {name: getattr(result, name) for name in names}
    return {
        "family": problem.family, **figures, **fit, "total_seconds": time.monotonic() - began
    }  # fmt: skip


def main():
    """Answer the request."""
    # The reply has the real standard output to itself, whatever a library prints.
    reply_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    request = json.load(sys.stdin)
    try:
        reply = measure(Cell(**request["cell"]), Budget(**request["budget"]), request["posteriors"])
    except Exception as error:
        traceback.print_exc()
        reply = {"failure": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    print(json.dumps(reply), file=reply_to, flush=True)


if __name__ == "__main__":
    main()
