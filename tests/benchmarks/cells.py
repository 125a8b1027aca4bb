"""Made-up results for tests of the benchmarks' reports."""

RUN = {
    "command": "python -m benchmarks sampling",
    "accelerators": {},
    "cpu": "Some CPU",
    "cores": 2,
    "system": "Linux x86_64",
    "python": "3.11.7",
    "versions": {"torch": "2.13.0", "zuko": "1.6.0"},
    "date": "2025-01-01 00:00 UTC",
    "load": [0.1, 0.2, 0.3],
    "load_after": [0.4, 0.5, 0.6],
    "minutes": 1.25,
}


def times(*seconds):
    """An entry whose CPU time is that in each round; wall time is twice as long."""
    return {"cpu": list(seconds), "wall": [2 * s for s in seconds], "calls": [1] * len(seconds)}


def cell(backend="torch", dim=64, hidden=128, operation="sample", device="cpu", **entries):
    return {
        "backend": backend,
        "device": device,
        "dim": dim,
        "hidden": hidden,
        "operation": operation,
        "entries": entries,
    }
