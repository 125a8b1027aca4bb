"""The sweep run backwards: the transposed of the linearised equations, last step first."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowkit_core.specs import MADESpec
from numpyro_flowkit.spread import vary, varying_axes
from numpyro_flowkit.transforms.chunks import (
    Chunk,
    Index,
    Loop,
    Rows,
    chunks,
    loop_over,
    residual_source,
)
from numpyro_flowkit.transforms.sweep import States
from numpyro_flowkit.transforms.windows import Window, add_frame, block, product


class TransposedRules(NamedTuple):
    """What a transposed sweep does at a step.

    Args:
        divide: a cotangent of positions and their window -> the multipliers of their equations.
        to_params: those multipliers and the window of the last layer's rows -> what the rows
            receive from them.
        pull_back: layer, a cotangent of what the next layer sees and the window of the layer's
            rows -> that of the rows.
    """

    divide: Callable[[Array, Window], Array]
    to_params: Callable[[Array, Window], Array]
    pull_back: Callable[[int, Array, Window], Array]


def transposed_sweep(
    spec: MADESpec, weights: Sequence[Array], right_side: States, rules: TransposedRules
) -> States:
    """Solve the transposed of a linearised network's equations, last step first.

    Args:
        spec: the network's architecture.
        weights: as for `sweep.forward_sweep`.
        right_side: cotangents of the states.
        rules: derivatives of activations and law.

    Returns:
        the multipliers of the equations, of the shapes of the states.
    """
    plan = chunks(spec)
    layers = plan[0].layers
    size, dtype = right_side.positions.shape[-1], right_side.positions.dtype
    axes = varying_axes(*jax.tree.leaves(right_side), *weights)

    def zeros(rows: int) -> Array:
        return vary(jnp.zeros((rows, size), dtype), axes)

    # Left to itself XLA would transpose anew at every step.
    columns = [lax.optimization_barrier(weight.T) for weight in weights]

    def owed(layer: int, number: Index, multipliers: Array) -> Array | None:
        """What the inputs of a layer, in their frame, receive from the chunks after."""
        column = columns[layer]

        def of(chunk: Chunk) -> Callable[[Array], Array]:
            out, into = chunk.layers[layer]
            return lambda found: product(column[into.framed, out.stop :], found[out.stop :])

        branches = [of(chunk) for chunk in plan]
        return lax.switch(number, branches, multipliers) if len(plan) > 1 else None

    def retreat(found: _Found, loop: Loop) -> tuple[_Found, None]:
        after = [owed(layer, loop.number, found.rows[layer]) for layer in range(len(weights))]
        inner = [
            block(column, loop.bases[layer], loop.bases[layer + 1], (into.frame, out.frame))
            for layer, (column, (out, into)) in enumerate(zip(columns, layers, strict=True))
        ]
        start = found._replace(rows=tuple(zeros(out.frame) for out, _ in layers))
        step = partial(_retreat_step, spec, plan[0], inner, after, right_side, rules)
        new, _ = lax.scan(step, start, loop.steps, reverse=True)
        rows = map(add_frame, found.rows, loop.bases[1:], new.rows)
        return new._replace(rows=tuple(rows)), None

    start = _Found(
        rows=tuple(zeros(len(weight)) for weight in weights),
        positions=zeros(len(right_side.positions)),
    )
    found, _ = lax.scan(retreat, start, loop_over(plan), reverse=True)
    *hidden, params = found.rows
    return States(tuple(hidden), params, found.positions)


class _Found(NamedTuple):
    """Multipliers found so far: of each layer's rows (inside a chunk, its frame), of positions."""

    rows: tuple[Array, ...]
    positions: Array


def _retreat_step(
    spec: MADESpec,
    chunk: Chunk,
    inner: Sequence[Array],
    after: Sequence[Array | None],
    right_side: States,
    rules: TransposedRules,
    found: _Found,
    steps: Sequence[Rows],
) -> tuple[_Found, None]:
    """The multipliers of one step: of its positions first, then of its rows, last layer first."""
    rows = list(found.rows)
    last = len(rows) - 1
    fresh: dict[int, Array] = {}

    def received(layer: int, here: Window) -> Array:
        """What the inputs of a layer receive from it."""
        pulled = product(here.of_frame(inner[layer]), rows[layer])
        owed = after[layer]
        return pulled if owed is None else pulled + here.of_frame(owed)

    here = Window(chunk.positions, steps[0])
    first = rules.divide(here(right_side.positions) + received(0, here), here)
    positions = here.write(found.positions, first)
    here = Window(chunk.groups[-1], steps[-1])
    new = here(right_side.params) + rules.to_params(first, here)
    rows[last] = here.write_frame(rows[last], here.done_backwards(new))
    for layer in reversed(range(last)):
        here = Window(chunk.groups[1 + layer], steps[1 + layer])
        new = here(right_side.hidden[layer])
        new = new + rules.pull_back(layer, received(layer + 1, here), here)
        if layer + 2 < last and residual_source(spec, layer + 2) == layer:
            new = new + fresh[layer + 2]
        fresh[layer] = new
        rows[layer] = here.write_frame(rows[layer], here.done_backwards(new))
    return _Found(tuple(rows), positions), None
