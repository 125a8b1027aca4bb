"""Runs of couplings whose masks split the coordinates alike, the two halves kept apart.

Each coupling alone picks its halves out of a vector and joins them again. With alternating masks
both copy every second number, which takes as long as a product of a small network; in a run it is
done once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax.numpy as jnp
from jax import Array

from numpyro_flowkit.transforms.coupling import Coupling

Part = TypeVar("Part")


@dataclass(frozen=True)
class CouplingRun:
    """Couplings of one mask, or of two that exchange the roles of the halves.

    Args:
        layers: in the order in which they are applied.
    """

    layers: tuple[Coupling, ...]

    def apply(self, values: Array, context: Array | None, *, forward: bool) -> tuple[Array, Array]:
        """Map by one layer after the other; the log-determinant is that of all.

        Args:
            values: (..., D).
            context: (..., context_dim), or None.
            forward: base to data, or data to base.
        """
        first = self.layers[0]
        halves = dict(zip((True, False), first.split(values), strict=True))
        log_det = jnp.zeros(values.shape[:-1], values.dtype)
        for layer in self.layers:
            role = layer.mask == first.mask
            given = context if layer.context_dim else None
            halves[not role], change = layer.move(
                halves[role], halves[not role], given, forward=forward
            )
            log_det = log_det + change
        return first.merge(halves[True], halves[False]), log_det


def join_couplings(parts: Sequence[Part]) -> list[Part | CouplingRun]:
    """Join neighbouring couplings whose masks fit; every other part stands alone."""
    joined: list[Part | CouplingRun] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Coupling) and type(part) is Coupling:
            before = last.layers if isinstance(last, CouplingRun) else ()
            if before and _fits(before[0], part):
                joined[-1] = CouplingRun((*before, part))
            else:
                joined.append(CouplingRun((part,)))
        else:
            joined.append(part)
    return joined


def _fits(first: Coupling, other: Coupling) -> bool:
    return other.mask in (first.mask, tuple(not keep for keep in first.mask))
