"""Running cells, each in a process of its own, some of them side by side."""

import contextlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

# A hung fit must not hold up the whole run.
TIMEOUT_SECONDS = 3600


def run_all(cells, budget, posteriors, num_workers):
    """Yield each cell with its figures, or with ``{"failure": reason}``, as they come."""
    pool = ThreadPoolExecutor(num_workers)
    futures = {pool.submit(run, cell, budget, posteriors): cell for cell in cells}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:  # whoever interrupts does not want the rest to be begun
        pool.shutdown(cancel_futures=True)


def run(cell, budget, posteriors):
    """Figures of one cell, or the reason why there are none."""
    request = {
        "cell": cell.to_dict(),
        "budget": budget.to_dict(),
        "posteriors": str(Path(posteriors).resolve()),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.quality.worker"],
            input=json.dumps(request),
            capture_output=True,
            check=False,
            text=True,
            timeout=TIMEOUT_SECONDS,
            cwd=Path(__file__).parents[2],
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"not done within {TIMEOUT_SECONDS} s"}
    with contextlib.suppress(json.JSONDecodeError):
        return json.loads(done.stdout)
    lines = done.stderr.strip().splitlines()
    return {"failure": lines[-1][:300] if lines else f"exit status {done.returncode}"}


def _environment():
    """One thread each, in torch, NumPy and XLA, so that processes side by side do not crowd."""
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"), "1"
    )
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    return {
        **os.environ,
        **threads,
        "XLA_FLAGS": flags.strip(),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
