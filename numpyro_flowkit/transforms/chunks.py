"""Chunks: how the steps of a sweep are laid out for one program of a few loops.

See `flowkit_core.sweep` for the steps. A loop of XLA runs bodies of one shape only, and what lies
before its first step can be multiplied by one large product instead of many thin ones. So the
steps are cut into a few chunks: one product for what a chunk owes to the chunks before it, then
one loop over its steps, each of which evaluates as many rows as the largest of them. The chunks
are the iterations of an outer loop, so that compile time does not grow with their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jax import Array
from numpy.typing import NDArray

from flowkit_core.specs import MADESpec
from flowkit_core.sweep import sweep_steps

# More chunks make the thin products shorter, and the program longer to compile.
MAX_CHUNKS = 4
MIN_STEPS = 16

# Unsigned, because JAX compares signed indices with zero at run time; traced inside the loops.
Index = Array | NDArray[np.uint32]


class Rows(NamedTuple):
    """Rows that each step of a loop writes; all of them lie within the frame of the group.

    Args:
        first: first row written.
        local: the same, counted from the base of the group's frame.
        begin: first row that is the step's own.
        end: one past the last row that is the step's own.
        start: first row of the chunk, the same at every step.
        stop: one past the chunk's last row.
    """

    first: Index
    local: Index
    begin: Index
    end: Index
    start: Index
    stop: Index


@dataclass(frozen=True, eq=False)
class Group:
    """What a chunk holds of the positions, or of the units of one linear layer.

    All chunks work in frames of one size, which may begin or end in another chunk's rows.

    Args:
        start: first row of the chunk.
        stop: one past its last.
        base: first row of the frame.
        frame: rows of the frame, as many as the largest chunk has.
        width: rows that each step evaluates, as many as the largest step of any chunk owns.
        even: whether every step of every chunk owns all the rows it evaluates.
        steps: where each step writes.
    """

    start: int
    stop: int
    base: int
    frame: int
    width: int
    even: bool
    steps: Rows

    @property
    def framed(self) -> slice:
        """The frame, in an array of all rows."""
        return slice(self.base, self.base + self.frame)


@dataclass(frozen=True, eq=False)
class Chunk:
    """What one loop of a sweep computes.

    Args:
        groups: of the positions, of the units of each hidden linear layer, and of the rows of the
            last layer, ``num_params`` for each position.
    """

    groups: tuple[Group, ...]

    @property
    def positions(self) -> Group:
        """The positions."""
        return self.groups[0]

    @property
    def layers(self) -> tuple[tuple[Group, Group], ...]:
        """Outputs and inputs of each linear layer."""
        return tuple((outputs, inputs) for inputs, outputs in pairwise(self.groups))


class Loop(NamedTuple):
    """What the loop over the chunks is given: one row for each chunk.

    Args:
        number: of the chunk.
        bases: first row of the frame of each group.
        steps: of each group.
    """

    number: Index
    bases: tuple[Index, ...]
    steps: tuple[Rows, ...]


def loop_over(plan: Sequence[Chunk]) -> Loop:
    """The chunks as data, stacked."""
    groups = list(zip(*(chunk.groups for chunk in plan), strict=True))
    bases = tuple(np.array([group.base for group in row], dtype=np.uint32) for row in groups)
    steps = tuple(Rows(*map(np.stack, zip(*(g.steps for g in row), strict=True))) for row in groups)
    return Loop(np.arange(len(plan), dtype=np.int32), bases, steps)


@lru_cache(maxsize=256)
def chunks(spec: MADESpec) -> tuple[Chunk, ...]:
    """Cut the steps of a network's sweep into chunks of about equal numbers of steps.

    Example:
        >>> net = MADESpec(
        ...     hidden_dims=(4,),
        ...     activation="relu",
        ...     context_dim=0,
        ...     input_dim=3,
        ...     num_params=2,
        ...     residual=False,
        ... )
        >>> (only,) = chunks(net)
        >>> only.groups[1].width, only.groups[1].steps.first.tolist()
        (2, [0, 0, 2])
    """
    steps = sweep_steps(spec)
    count = max(1, min(MAX_CHUNKS, len(steps) // MIN_STEPS))
    cuts = [round(i * len(steps) / count) for i in range(count + 1)]
    parts = [steps[a:b] for a, b in pairwise(cuts)]
    positions = [[(step.start, step.stop) for step in part] for part in parts]
    hidden = [
        _groups([[step.units[i] for step in part] for part in parts])
        for i in range(len(spec.degrees))
    ]
    if spec.residual:  # every linear layer of the blocks has the degrees of the stream
        hidden = hidden * (len(spec.masks) - 1)
    rows = [[(spec.num_params * a, spec.num_params * b) for a, b in part] for part in positions]
    return tuple(map(Chunk, zip(_groups(positions), *hidden, _groups(rows), strict=True)))


def residual_source(spec: MADESpec, layer: int) -> int | None:
    """The hidden linear layer whose rows are added to those of ``layer``; None outside blocks."""
    return layer - 2 if spec.residual and layer >= 2 and layer % 2 == 0 else None


def _groups(parts: Sequence[Sequence[tuple[int, int]]]) -> list[Group]:
    """One family of rows in every chunk, from the ranges that the chunk's steps own."""
    frame = max(part[-1][1] - part[0][0] for part in parts)
    sizes = {stop - start for part in parts for start, stop in part}
    total, num_steps, width = parts[-1][-1][1], max(map(len, parts)), max(sizes)
    groups = []
    for part in parts:
        start, stop = part[0][0], part[-1][1]
        base = min(start, total - frame)
        padded = [*part, *[part[-1]] * (num_steps - len(part))]  # a step repeated changes nothing
        begin, end = np.array(padded, dtype=np.int64).T
        first = np.minimum(begin, max(base, stop - width))
        bounds = (np.full_like(first, start), np.full_like(first, stop))
        columns = (first, first - base, begin, end, *bounds)
        rows = Rows(*(column.astype(np.uint32) for column in columns))
        groups.append(Group(start, stop, base, frame, width, sizes == {width}, rows))
    return groups
