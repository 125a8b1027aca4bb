"""quality.json: a row of figures for each cell, and the runs that the rows come from."""

import json
import math
from pathlib import Path

from benchmarks.quality.cells import cell_of
from benchmarks.store import replace

FILE = "quality.json"


def load(folder):
    """``{"runs": {id: run}, "rows": [row]}`` of a folder; empty if it has none."""
    path = Path(folder) / FILE
    return json.loads(path.read_text()) if path.exists() else {"runs": {}, "rows": []}


def merge(folder, runs, rows):
    """Add rows to a folder's file, in place of those of the same cells; returns what it holds."""
    found = load(folder)
    kept = {cell_of(row): row for row in found["rows"]}
    kept.update({cell_of(row): _plain(row) for row in rows})
    return _save(folder, {**found["runs"], **runs}, list(kept.values()))


def forget(folder, cells):
    """Drop the rows of these cells."""
    found = load(folder)
    dropped = set(cells)
    return _save(folder, found["runs"], [r for r in found["rows"] if cell_of(r) not in dropped])


def missing(folder, cells):
    """Those of the cells that have no figures yet; failures are tried again."""
    there = {cell_of(row) for row in load(folder)["rows"] if "failure" not in row}
    return [cell for cell in cells if cell not in there]


def _save(folder, runs, rows):
    used = {row["run"] for row in rows}
    runs = {key: run for key, run in runs.items() if key in used}
    # A row a line keeps the file small and its changes readable.
    head = json.dumps(runs, indent=1, allow_nan=False)
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows)
    replace(Path(folder) / FILE, f'{{"runs": {head},\n"rows": [\n{lines}\n]}}\n')
    return {"runs": runs, "rows": rows}


def _plain(row):
    """Five digits, and words for what JSON has no numbers for; ``float`` reads them back."""
    return {key: _value(value) for key, value in row.items()}


def _value(value):
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else str(value)
