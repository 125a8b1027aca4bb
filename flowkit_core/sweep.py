"""Plan of the sequential sweep: which units become computable at which step.

The sequential direction of an autoregressive layer takes the coordinates in order. Because hidden
units are sorted by degree, the units that can be evaluated once coordinate j is known form one
contiguous block in every hidden layer, and what they see is a prefix. Each unit is evaluated once,
so all steps together do the arithmetic of a single masked pass (against D passes for the loop that
calls the whole network for each coordinate).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flowkit_core.specs.conditioners import MADESpec


@dataclass(frozen=True)
class SweepStep:
    """One step: evaluate the new units, then the laws of the next positions.

    Args:
        start: first position of this step; equals the number of coordinates known before it.
        stop: one past its last position.
        units: for each hidden layer, the half-open range of units that become computable. Units
            below the range are known, units above it are not needed yet.
    """

    start: int
    stop: int
    units: tuple[tuple[int, int], ...]


@lru_cache(maxsize=256)
def sweep_steps(spec: MADESpec) -> tuple[SweepStep, ...]:
    """The steps of a sweep; positions that bring no new unit share a step.

    New units of a step all have degree ``start``, so inside a step no mask is needed.

    Example:
        >>> from flowkit_core.specs import MADESpec
        >>> net = MADESpec(
        ...     hidden_dims=(4,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     input_dim=3,
        ...     num_params=2,
        ...     residual=False,
        ... )
        >>> for step in sweep_steps(net):
        ...     print(step.start, step.stop, step.units)
        0 1 ((0, 0),)
        1 2 ((0, 2),)
        2 3 ((2, 4),)
    """
    # known[l][j]: units of hidden layer l that are computable once j coordinates are known.
    known = [np.searchsorted(d, np.arange(spec.input_dim), side="right") for d in spec.degrees]
    steps: list[SweepStep] = []
    before = [0] * len(known)
    for j in range(spec.input_dim):
        now = [int(counts[j]) for counts in known]
        if steps and known and now == before:
            last = steps.pop()
            steps.append(SweepStep(last.start, j + 1, last.units))
            continue
        steps.append(SweepStep(j, j + 1, tuple(zip(before, now, strict=True))))
        before = now
    return tuple(steps)
