"""The equations that a sweep solves, and their linearisation; see `made_solver`.

Arrays are feature-major, (rows, B); the rows of the last layer lie position by position.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.laws import Law
from numpyro_flowkit.transforms.chunks import residual_source
from numpyro_flowkit.transforms.sweep import Rules, States, forward_sweep
from numpyro_flowkit.transforms.transposed_sweep import TransposedRules, transposed_sweep
from numpyro_flowkit.transforms.windows import Window, product


def layer_weights(net: MADE) -> list[Array]:
    """Masked weights; the rows of the last one position by position."""
    *hidden, last = (net.weight(layer) for layer in range(net.num_layers))
    return [*hidden, _by_position(net, last)]


def layer_offsets(net: MADE, context: Array | None) -> list[Array]:
    """Biases and what the context adds to the first layer, (rows, B or 1)."""
    found = [net.bias(layer)[:, None] for layer in range(net.num_layers)]
    if context is not None:
        found[0] = found[0] + context_term(net, context)
    *hidden, last = found
    return [*hidden, _by_position(net, last)]


def context_term(net: MADE, context: Array) -> Array:
    """What the context adds to the rows of the first layer, (rows, B or 1)."""
    return product(net.arrays["context_weight"], context)


def _by_position(net: MADE, rows: Array) -> Array:
    """Rows (num_params * D, n), parameter by parameter, position by position instead."""
    split = rows.reshape(net.spec.num_params, net.spec.input_dim, rows.shape[-1])
    return jnp.swapaxes(split, 0, 1).reshape(rows.shape)


def split_params(law: Law, rows: Array) -> tuple[Array, ...]:
    """The conditioned parameters, (positions, B) each, of rows position by position."""
    count, size = law.num_conditioned, rows.shape[-1]
    grouped = rows.reshape(len(rows) // count, count, size)
    # One split, not a slice for each: the gradient of every slice would be as large as the whole.
    return tuple(row[:, 0] for row in lax.split(grouped, (1,) * count, axis=1))


def free_rows(free: Array | None, here: Window | None = None) -> tuple[Array, ...]:
    """The free parameters, (D, 1) each, or those of a window."""
    if free is None:
        return ()
    columns = (row[:, None] for row in free)
    return tuple(column if here is None else here(column) for column in columns)


def apply_law(law: Law, free: Array | None, state: States) -> tuple[Array, Array]:
    """The parallel map's values and log-slopes at the states, (D, B) each."""
    return law.forward(state.positions, (*split_params(law, state.params), *free_rows(free)))


def states_at(net: MADE, context: Array | None, positions: Array) -> States:
    """The states of which the positions, (D, B), are known: one parallel pass."""
    *hidden, params = _yielded(net, context, positions, None)
    return States(tuple(hidden), params, positions)


def images(
    law: Law, net: MADE, free: Array | None, context: Array | None, state: States
) -> tuple[States, Array]:
    """What each linear layer, and the law, yield of what the state says of their inputs.

    And the sequential map's log-determinant, (B,).
    """
    *hidden, params = _yielded(net, context, state.positions, (*state.hidden, state.params))
    values, log_slopes = apply_law(law, free, state)
    return States(tuple(hidden), params, values), -log_slopes.sum(0)


def _yielded(
    net: MADE, context: Array | None, positions: Array, known: Sequence[Array] | None
) -> list[Array]:
    """What each linear layer yields of ``known`` rows of the layers before, or of what it found."""
    found: list[Array] = []
    rows = found if known is None else known
    seen, offsets = positions, layer_offsets(net, context)
    for layer, weight in enumerate(layer_weights(net)):
        row = product(weight, seen) + offsets[layer]
        source = residual_source(net.spec, layer)
        found.append(row if source is None else row + rows[source])
        seen = net.activation(rows[layer])
    return found


class _Slopes(NamedTuple):
    """Element-wise derivatives at the states.

    Args:
        hidden: of each hidden layer's activation, (units, B).
        params: of the law by its conditioned parameters, (D * num_params, B).
        positions: of the law by the position, (D, B).
    """

    hidden: tuple[Array, ...]
    params: Array
    positions: Array


def _slopes(law: Law, net: MADE, free: Array | None, state: States) -> _Slopes:
    # Laws and activations act element-wise, so one pullback of ones yields all the derivatives.
    def law_of(params: Array) -> tuple[Array, Array]:
        return apply_law(law, free, state._replace(params=params))

    image, pull, log_slopes = jax.vjp(law_of, state.params, has_aux=True)
    hidden = tuple(jax.jvp(net.activation, (h,), (jnp.ones_like(h),))[1] for h in state.hidden)
    return _Slopes(hidden, pull(jnp.ones_like(image))[0], jnp.exp(log_slopes))


def solve_linearized(
    law: Law, net: MADE, free: Array | None, state: States, right_side: States
) -> States:
    """Solve the equations linearised at ``state``, by a sweep."""
    slopes = _slopes(law, net, free, state)

    def activate(layer: int, rows: Array, here: Window) -> Array:
        return here(slopes.hidden[layer]) * rows

    def conclude(rows: Array, rows_here: Window, here: Window) -> tuple[Array, Array]:
        pushed = sum(split_params(law, rows_here(slopes.params) * rows))
        positions = (here(right_side.positions) - pushed) / here(slopes.positions)
        return positions, positions

    offsets = (*right_side.hidden, right_side.params)
    rules = Rules(activate, conclude)
    return forward_sweep(net.spec, layer_weights(net), offsets, right_side.positions, rules)[0]


def solve_transposed(
    law: Law, net: MADE, free: Array | None, state: States, right_side: States
) -> States:
    """Solve the transposed of them, by a sweep backwards."""
    slopes = _slopes(law, net, free, state)

    def divide(cotangent: Array, here: Window) -> Array:
        return cotangent / here(slopes.positions)

    def to_params(multipliers: Array, here: Window) -> Array:
        return -here(slopes.params) * jnp.repeat(multipliers, law.num_conditioned, axis=0)

    def pull_back(layer: int, cotangent: Array, here: Window) -> Array:
        return here(slopes.hidden[layer]) * cotangent

    rules = TransposedRules(divide, to_params, pull_back)
    return transposed_sweep(net.spec, layer_weights(net), right_side, rules)
