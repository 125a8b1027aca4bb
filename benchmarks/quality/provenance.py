"""Where rows come from: revision, date, machine and versions."""

import subprocess
from pathlib import Path

from benchmarks import machine

_PACKAGES = ("torch", "pyro-ppl", "jax", "jaxlib", "numpyro", "optax", "numpy", "arviz")


def describe(num_workers, budget):
    """A dict of plain values, with what the fits were allowed."""
    found = {**machine.describe(), "versions": machine.versions(_PACKAGES)}
    return {**found, "revision": revision(), "workers": num_workers, **budget.to_dict()}


def revision():
    """The checkout's commit, with a plus sign if files that are tracked have been changed."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "--short=10", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")


def _git(folder, *arguments):
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
