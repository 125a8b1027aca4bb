"""The degree-sorted sweep: invert an autoregressive map at the cost of one pass.

Arrays are feature-major here, (features, batch): the units of one step are then contiguous rows.
Each hidden unit is evaluated once, from the rows already known; see `chunks` for the plan. The
same recursion solves the linearised system (`made_solver`), so what a step does with its rows is
a parameter.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

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
from numpyro_flowkit.transforms.windows import Window, add_frame, block, product


class States(NamedTuple):
    """All that a sweep finds, feature-major; B points.

    Args:
        hidden: what each hidden linear layer yields, before the activation, (units, B).
        params: what the last layer yields, position by position, (D * num_params, B).
        positions: (D, B).
    """

    hidden: tuple[Array, ...]
    params: Array
    positions: Array


class Rules(NamedTuple):
    """What a sweep does at a step with the rows that the linear layers yield.

    Args:
        activate: layer, its rows and their window -> what the next layer sees of them.
        conclude: the rows of the last layer, their window and that of their positions -> the
            positions, and one further number for each.
    """

    activate: Callable[[int, Array, Window], Array]
    conclude: Callable[[Array, Window, Window], tuple[Array, Array]]


def forward_sweep(
    spec: MADESpec, weights: Sequence[Array], offsets: Sequence[Array], like: Array, rules: Rules
) -> tuple[States, Array]:
    """Run a masked network whose inputs follow, step by step, from its outputs.

    Linear layer l yields ``W_l s + offset_l``, plus the rows of its residual source, where s is
    what the rules make of the layer before it, and the positions for the first layer.

    Args:
        spec: the network's architecture.
        weights: masked, (rows, columns); the rows of the last layer position by position.
        offsets: (rows, B or 1).
        like: an array (D, B) of the dtype of the positions.
        rules: what turns rows into positions.

    Returns:
        the states, and the further numbers of the rules, (D, B).
    """
    plan = chunks(spec)
    layers = plan[0].layers
    size, dtype = like.shape[-1], jnp.result_type(like, *weights, *offsets)
    axes = varying_axes(like, *weights, *offsets)

    def zeros(rows: int) -> Array:
        return vary(jnp.zeros((rows, size), dtype), axes)

    def owed(layer: int, number: Index, inputs: Array) -> Array | None:
        """What the chunks before owe to the frame of a layer's rows."""
        weight = weights[layer]

        def of(chunk: Chunk) -> Callable[[Array], Array]:
            out, into = chunk.layers[layer]
            return lambda inputs: product(weight[out.framed, : into.start], inputs[: into.start])

        return lax.switch(number, [of(chunk) for chunk in plan], inputs) if len(plan) > 1 else None

    def advance(found: _Found, loop: Loop) -> tuple[_Found, None]:
        before = [owed(layer, loop.number, found.seen[layer]) for layer in range(len(weights))]
        inner = [
            block(weight, loop.bases[layer + 1], loop.bases[layer], (out.frame, into.frame))
            for layer, (weight, (out, into)) in enumerate(zip(weights, layers, strict=True))
        ]
        start = found._replace(seen=tuple(zeros(into.frame) for _, into in layers))
        step = partial(_advance_step, spec, plan[0], inner, before, offsets, rules)
        new, _ = lax.scan(step, start, loop.steps)
        seen = map(add_frame, found.seen, loop.bases, new.seen)
        return new._replace(seen=tuple(seen)), None

    start = _Found(
        seen=tuple(zeros(weight.shape[1]) for weight in weights),
        rows=tuple(zeros(len(weight)) for weight in weights),
        further=zeros(len(like)),
    )
    found, _ = lax.scan(advance, start, loop_over(plan))
    *hidden, params = found.rows
    return States(tuple(hidden), params, found.seen[0]), found.further


class _Found(NamedTuple):
    """What a sweep has found so far; zero where it has not been.

    Args:
        seen: what each linear layer sees; inside a chunk, the rows of its frame.
        rows: what each linear layer yields.
        further: the further numbers.
    """

    seen: tuple[Array, ...]
    rows: tuple[Array, ...]
    further: Array


def _advance_step(
    spec: MADESpec,
    chunk: Chunk,
    inner: Sequence[Array],
    before: Sequence[Array | None],
    offsets: Sequence[Array],
    rules: Rules,
    found: _Found,
    steps: Sequence[Rows],
) -> tuple[_Found, None]:
    """Evaluate the rows of one step, layer by layer, and the positions that follow."""
    seen, rows = list(found.seen), list(found.rows)
    fresh: list[Array] = []
    for layer, (out, _) in enumerate(chunk.layers):
        here = Window(out, steps[layer + 1])
        new = product(here.of_frame(inner[layer]), seen[layer]) + here(offsets[layer])
        owed = before[layer]
        if owed is not None:
            new = new + here.of_frame(owed)
        source = residual_source(spec, layer)
        if source is not None:
            new = new + fresh[source]
        fresh.append(new)
        rows[layer] = here.write(rows[layer], new)
        if layer + 1 < len(seen):
            shown = here.done(rules.activate(layer, new, here))
            seen[layer + 1] = here.write_frame(seen[layer + 1], shown)
    params_here, here = here, Window(chunk.positions, steps[0])
    positions, further = rules.conclude(new, params_here, here)
    seen[0] = here.write_frame(seen[0], here.done(positions))
    return _Found(tuple(seen), tuple(rows), here.write(found.further, further)), None
