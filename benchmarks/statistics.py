"""Ratios inside rounds, their median and spread; growth exponents."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ratio:
    """A ratio of times.

    Args:
        median: over the rounds.
        low, high: smallest and largest of the rounds.
        name: of the library in the numerator.
    """

    median: float
    low: float
    high: float
    name: str = ""


def metric(cell):
    """CPU time of the process; wall time on an accelerator, whose work the CPU does not do."""
    return "cpu" if cell.get("device", "cpu") == "cpu" else "wall"


def times(cell, name):
    """Seconds per call in each round, or None if there are none."""
    entry = cell["entries"].get(name, {})
    return entry.get(metric(cell))


def typical(cell, name):
    """Median seconds per call, or None."""
    found = times(cell, name)
    return float(np.median(found)) if found else None


def ratio(cell, name, other):
    """Time of one over that of the other, formed inside each round; None if one is missing."""
    above, below = times(cell, name), times(cell, other)
    if not above or not below:
        return None
    return ratio_of(above, below, name)


def ratio_of(above, below, name=""):
    """Median and spread of above[i] / below[i]."""
    quotients = np.asarray(above) / np.asarray(below)
    low, high = float(quotients.min()), float(quotients.max())
    return Ratio(float(np.median(quotients)), low, high, name)


def fastest_peer(cell, ours):
    """The peer with the smallest median time, or None if there is no peer."""
    found = {name: typical(cell, name) for name in cell["entries"] if name != ours}
    found = {name: seconds for name, seconds in found.items() if seconds is not None}
    return min(found, key=found.get) if found else None


def speedup(cell, ours):
    """Time of the fastest peer over ours, or None."""
    peer = fastest_peer(cell, ours)
    return None if peer is None else ratio(cell, peer, ours)
