"""What a result depends on: machine, versions, date, load."""

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

from benchmarks.libraries import LIBRARIES

_FRAMEWORKS = ("torch", "jax", "jaxlib", "equinox", "numpy")


def describe():
    """A dict of plain values for the head of a section."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions((*_FRAMEWORKS, *(lib.package for lib in LIBRARIES.values()))),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def _cpu_model():
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def versions(packages):
    """Versions of packages, or that they are not there."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
