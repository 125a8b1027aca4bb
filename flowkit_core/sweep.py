"""Plan of the sequential sweep: which units become computable at which step.

The sequential direction of an autoregressive layer takes the coordinates in order. Because hidden
units are sorted by degree, the units that can be evaluated once coordinate j is known form one
contiguous block in every hidden layer, and what they see is a prefix. Each unit is evaluated once,
so all steps together do the arithmetic of a single masked pass (against D passes for the loop that
calls the whole network for each coordinate).

Steps may be grouped into blocks. Inside a block the coordinates are found together, by a fixed
point on the block's own small share of the network: as many iterations as the block has steps are
exact, and usually a few are enough, so there are fewer and larger steps (a block
Gauss-Seidel-Jacobi iteration; one block of everything is the plain Jacobi iteration of Song et al.
2021).
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


@dataclass(frozen=True)
class SweepBlock:
    """Consecutive steps that are taken together.

    Args:
        start: first position of the block; equals the number of coordinates known before it.
        stop: one past its last position.
        units: for each hidden layer, the half-open range of units that belong to the block.
        depth: number of steps; as many iterations are exact whatever the first guess.
    """

    start: int
    stop: int
    units: tuple[tuple[int, int], ...]
    depth: int


@lru_cache(maxsize=256)
def sweep_blocks(spec: MADESpec, depth: int) -> tuple[SweepBlock, ...]:
    """The steps of `sweep_steps`, ``depth`` of them to a block (the last may have fewer).

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
        >>> for block in sweep_blocks(net, 2):
        ...     print(block.start, block.stop, block.units, block.depth)
        0 2 ((0, 2),) 2
        2 3 ((2, 4),) 1
    """
    steps = sweep_steps(spec)
    blocks = []
    for i in range(0, len(steps), depth):
        group = steps[i : i + depth]
        first, last = group[0], group[-1]
        units = tuple((a[0], b[1]) for a, b in zip(first.units, last.units, strict=True))
        blocks.append(SweepBlock(first.start, last.stop, units, len(group)))
    return tuple(blocks)
