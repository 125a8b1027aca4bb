"""A guide's fit to the horseshoe in a process of its own: what it cost and what it learnt."""

import contextlib
import importlib
import resource
import time

import numpy as np

from benchmarks.horseshoe import learnt, sparse

DRAWS = 1000


def measure(library, *, dim, rows, signals, guide, seed=0, **settings):
    """Fit a guide of one of our libraries; plain values.

    Args:
        library: "pyro_flowkit" or "numpyro_flowkit".
        dim: number of coefficients; latents are twice as many and two.
        rows: of the data.
        signals: coefficients that are not zero.
        guide: name and arguments of the guide.
        seed: of data and fit.
        settings: of `fit_guide`.
    """
    model = importlib.import_module(f"benchmarks.horseshoe_{library.removesuffix('_flowkit')}")
    data = sparse(dim, rows, signals, seed)
    trainer = importlib.import_module(f"{library}.guides.guide_trainer").GuideTrainer
    before = _peak()
    with _stopwatch(trainer) as windows:
        result, beta = model.fit(guide, data, DRAWS, seed=seed, **settings)
    start = result.warm_start
    wall, cpu = (_median_of_second_half(each) for each in zip(*windows, strict=True))
    return {
        "latents": 2 * dim + 2,
        "steps": result.num_steps,
        "stopped": result.stopped,
        "skipped": result.skipped_steps,
        "falls": result.falls,
        "first_loss": float(np.median(result.losses[:10])),
        "elbo": result.elbo,
        "elbo_stderr": result.elbo_stderr,
        "losses": [
            float(np.median(part))
            for part in np.array_split(result.losses, min(40, result.num_steps))
        ],
        "warm_start": None if start is None else {"method": start.method, "elbo": start.elbo},
        "wall": wall,
        "cpu": cpu,
        "seconds": result.seconds,
        "bytes": _peak() - before,
        **learnt(data, beta),
    }


@contextlib.contextmanager
def _stopwatch(trainer):
    """Wall and CPU seconds per step of every window of steps that is run meanwhile."""
    run, windows = trainer.run, []

    def timed(self, window, *, seed):
        wall, cpu = time.perf_counter(), time.process_time()
        told = run(self, window, seed=seed)
        count = len(window.rates)
        windows.append(((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count))
        return told

    trainer.run = timed
    try:
        yield windows
    finally:
        trainer.run = run


def _median_of_second_half(values):
    """Of the windows that compile nothing."""
    return float(np.median(values[len(values) // 2 :]))


def _peak():
    """Most bytes that this process has ever held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
