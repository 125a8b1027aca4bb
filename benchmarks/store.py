"""results.json: the raw figures of every section, each with the run that made it."""

import json
import os
from pathlib import Path


def load(folder):
    """Section -> {"run": ..., "cells": [...]}, of the folder's file; empty if there is none."""
    path = Path(folder) / "results.json"
    return json.loads(path.read_text()) if path.exists() else {}


def save_section(folder, name, run, cells):
    """Replace one section and keep the others; returns all of them."""
    results = {**load(folder), name: {"run": run, "cells": cells}}
    replace(Path(folder) / "results.json", json.dumps(_rounded(results), indent=1) + "\n")
    return results


def replace(path, text):
    """Write a file whole or not at all, with the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text)
    os.replace(partial, path)


def _rounded(value):
    """Floats with six digits: nothing below that is real, and files stay readable."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
