"""Runs of equal layers, swept by loops of XLA, as one loop.

Written out, K layers take K times as long to compile, and XLA, free to put off the gradients of
weights, keeps what they need of all layers until the end. As the iterations of a ``lax.scan`` they
take the time and, but for the states, the memory of one.
"""

from collections.abc import Hashable, Sequence
from itertools import groupby, pairwise
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpyro.distributions.transforms import Transform

from flowkit_core.masks import invert_order, natural_order, reverse_order
from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.native.compiled import compiled_sweep
from numpyro_flowkit.spread import vary, varying_axes
from numpyro_flowkit.transforms.autoregressive import Autoregressive
from numpyro_flowkit.transforms.implicit import from_columns, to_columns
from numpyro_flowkit.transforms.made_solver import solve_made

Order = tuple[int, ...]


def runs(
    layers: Sequence[Transform], direction: str, values: Array, context: Array | None
) -> list[Transform | tuple[Autoregressive, ...]]:
    """Join neighbours that one loop can map through; the others stand alone.

    Args:
        layers: in the order in which they are applied.
        direction: "sequential_forward" or "sequential_inverse", whichever they are applied in.
        values: what they are applied to.
        context: or None.
    """

    def key_of(layer: Transform) -> Hashable:
        return _key(layer, direction, values, context)

    parts: list[Transform | tuple[Autoregressive, ...]] = []
    for key, group in groupby(layers, key=key_of):
        run = tuple(group)
        parts += run if key is None or len(run) == 1 else [cast(tuple[Autoregressive, ...], run)]
    return parts


def _key(layer: Transform, direction: str, values: Array, context: Array | None) -> Hashable:
    """Equal for layers that differ in weights and order only; None for what needs no loop."""
    if not isinstance(layer, Autoregressive) or not getattr(layer, direction):
        return None
    if layer.method != "sweep":
        return None
    net, given = cast(MADE, layer.conditioner), context if layer.context_dim else None
    if compiled_sweep(layer._parallel_law, net, layer.free, values, given) is not None:
        return None
    leaves, structure = jax.tree.flatten((layer.conditioner, layer.free))
    shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    return type(layer), layer.law, layer.context_dim, structure, shapes


def sequential_run(
    layers: Sequence[Autoregressive], values: Array, context: Array | None
) -> tuple[Array, Array]:
    """The sequential maps of a run, one after the other, and their log-determinant."""
    law, batch = layers[0]._parallel_law, values.shape[:-1]
    given = None
    if context is not None and layers[0].context_dim:
        given = to_columns(context, batch)
    weights = [(cast(MADE, layer.conditioner), layer.free) for layer in layers]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *weights)

    # Positions stay in the order of the layer that made them; `between` leads to the next layer's.
    orders = [layer.order for layer in layers]
    between = [_compose(invert_order(a), b) for a, b in pairwise(orders)]
    common = between[0] if len(set(between)) == 1 else None
    first = orders[0] if common is None else _compose(orders[0], invert_order(common))
    turns = None if common is not None else np.array([natural_order(len(first)), *between])

    def advance(carry: tuple[Array, Array], layer: Any) -> tuple[tuple[Array, Array], None]:
        columns, log_det = carry
        (net, free), turn = layer
        columns = _rows(columns, common) if common is not None else columns[turn]
        state, of_layer = solve_made(law, net, free, columns, given)
        return (state.positions, log_det + of_layer), None

    axes = varying_axes(values, *jax.tree.leaves((stacked, given)))
    columns = vary(_rows(to_columns(values, batch), first), axes)
    start = (columns, jnp.zeros_like(columns[0]))
    (columns, log_det), _ = lax.scan(advance, start, (stacked, turns))
    restored = _rows(columns, invert_order(orders[-1]))
    return from_columns(restored, batch), log_det.reshape(batch)


def _compose(first: Order, second: Order) -> Order:
    """``values[first][second]`` as one order."""
    return tuple(first[i] for i in second)


def _rows(columns: Array, order: Order) -> Array:
    """``columns[order]``, by a reversal where that is what it is: a gather is slow on CPUs."""
    if order == natural_order(len(order)):
        return columns
    return columns[::-1] if order == reverse_order(len(order)) else columns[np.asarray(order)]
