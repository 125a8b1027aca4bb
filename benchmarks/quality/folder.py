"""Posteriors in a folder: NAME.json beside models_pyro.py and models_numpyro.py.

Any posterior in this format is checked, also one that is added later. Such files keep their own
licence and stay where they are.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np

from benchmarks.quality.problem import LOGS, MOMENTS, POSTERIORDB, Problem

_FIELDS = ("name", "data", "params", "sites", "reference", "log_evidence")
_MODELS = ("models_pyro.py", "models_numpyro.py")
_WANTED = (
    "a folder in posteriordb's format: NAME.json with the fields "
    f"{', '.join(_FIELDS)}, and {' and '.join(_MODELS)} with MODELS[name], a function of the data"
)


def what_is_missing(folder):
    """Why a folder has no posteriors to check, and what to point at instead; None if it has."""
    folder = Path(folder)
    if not folder.is_dir():
        return f"--posteriors: there is no folder {folder}; point it at {_WANTED}"
    absent = [name for name in _MODELS if not (folder / name).exists()]
    if absent:
        return f"--posteriors: {folder} lacks {' and '.join(absent)}; point it at {_WANTED}"
    if not names(folder):
        return f"--posteriors: {folder} holds no such JSON file; point it at {_WANTED}"
    return None


def names(folder):
    """Names of the posteriors in a folder; other JSON files are passed over."""
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        record = json.loads(path.read_text())
        if isinstance(record, dict) and all(field in record for field in _FIELDS):
            found[record["name"]] = path
    return found


def problem(folder, name):
    """The posterior of that name."""
    record = json.loads(names(folder)[name].read_text())
    reference, evidence = record["reference"], record["log_evidence"]
    params = tuple(record["params"])
    in_logs = set(record.get("compare_on_log_scale") or ())
    location, scale = (np.array(reference[key], float) for key in ("mean", "sd"))
    for index, param in enumerate(params):
        if param in in_logs:  # of which only the thinned draws tell the moments
            values = np.log(np.array(reference["draws"], float)[:, index])
            location[index], scale[index] = values.mean(), values.std(ddof=1)
    return Problem(
        name=name,
        family=POSTERIORDB,
        sites=tuple(record["sites"]),
        params=params,
        location=location,
        scale=scale,
        compare=tuple(LOGS if param in in_logs else MOMENTS for param in params),
        log_evidence=evidence["value"],
        log_evidence_stderr=evidence["se"],
        data={k: np.asarray(v) if isinstance(v, list) else v for k, v in record["data"].items()},
    )


def model(folder, wing, name):
    """The model of that name, from the folder's module for a wing."""
    path = Path(folder) / f"models_{wing}.py"
    spec = importlib.util.spec_from_file_location(f"posteriors_{wing}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MODELS[name]
