r"""The sequential direction of a MADE by sweeps, with implicit derivatives by sweeps.

All that a sweep finds, x (the positions and the rows of every linear layer), solves the equations
``F(x; theta) = 0`` that take the network apart: the rows of a linear layer equal what it yields of
the rows before it, and the law maps the positions to v. Hence

    dx = -(dF/dx)^-1 (dF/dtheta) dtheta,

and since dF/dx is triangular in the order of the sweep, a sweep solves it and a backward sweep its
transposed, each with the arithmetic of one pass. As a ``lax.custom_linear_solve`` that has a
transpose, a derivative and a batching rule of its own: ``grad``, ``jvp``, ``hessian`` and ``vmap``
all work, and reverse mode keeps what one pass keeps, however many coordinates there are.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.laws import Law
from numpyro_flowkit.transforms.chunks import residual_source
from numpyro_flowkit.transforms.sweep import Rules, States, forward_sweep
from numpyro_flowkit.transforms.transposed_sweep import TransposedRules, transposed_sweep
from numpyro_flowkit.transforms.windows import Window, product


@partial(jax.jit, static_argnums=0)
def solve_made(
    law: Law, net: MADE, free: Array | None, v: Array, context: Array | None
) -> tuple[States, Array]:
    """The states at which the parallel map yields v, and the log-slopes of the sequential map.

    Args:
        law: the law that the parallel map applies.
        net: the network.
        free: the law's free parameters (num_free, D), or None.
        v: (D, B), in autoregressive order.
        context: (context_dim, B or 1), or None.
    """
    # Compiled on its own so that JAX traces and differentiates equal layers once.
    return _solve_made(law, net, free, v, context)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _solve_made(
    law: Law, net: MADE, free: Array | None, v: Array, context: Array | None
) -> tuple[States, Array]:
    def conclude(rows: Array, rows_here: Window, here: Window) -> tuple[Array, Array]:
        return law.inverse(here(v), (*_params(law, rows), *_free_rows(free, here)))

    rules = Rules(lambda _, rows, here: net.activation(rows), conclude)
    return forward_sweep(net.spec, _weights(net), _offsets(net, context), v, rules)


def _weights(net: MADE) -> list[Array]:
    """Masked weights; the rows of the last one position by position."""
    *hidden, last = (net.weight(layer) for layer in range(net.num_layers))
    return [*hidden, _by_position(net, last)]


def _offsets(net: MADE, context: Array | None) -> list[Array]:
    """Biases and what the context adds to the first layer, (rows, B or 1)."""
    offsets = [net.bias(layer)[:, None] for layer in range(net.num_layers)]
    if context is not None:
        offsets[0] = offsets[0] + product(net.arrays["context_weight"], context)
    *hidden, last = offsets
    return [*hidden, _by_position(net, last)]


def _by_position(net: MADE, rows: Array) -> Array:
    """Rows (num_params * D, n), parameter by parameter, position by position instead."""
    split = rows.reshape(net.spec.num_params, net.spec.input_dim, rows.shape[-1])
    return jnp.swapaxes(split, 0, 1).reshape(rows.shape)


def _params(law: Law, rows: Array) -> tuple[Array, ...]:
    """The conditioned parameters, (positions, B) each, of rows position by position."""
    count, size = law.num_conditioned, rows.shape[-1]
    grouped = rows.reshape(len(rows) // count, count, size)
    # One split, not a slice for each: the gradient of every slice would be as large as the whole.
    return tuple(row[:, 0] for row in lax.split(grouped, (1,) * count, axis=1))


def _free_rows(free: Array | None, here: Window | None = None) -> tuple[Array, ...]:
    """The free parameters, (D, 1) each, or those of a window."""
    if free is None:
        return ()
    columns = (row[:, None] for row in free)
    return tuple(column if here is None else here(column) for column in columns)


def _law(law: Law, free: Array | None, state: States) -> tuple[Array, Array]:
    return law.forward(state.positions, (*_params(law, state.params), *_free_rows(free)))


def _images(
    law: Law, net: MADE, free: Array | None, context: Array | None, state: States
) -> States:
    """What each linear layer, and the law, yield of what the state says of their inputs."""
    seen, images = state.positions, []
    rows = (*state.hidden, state.params)
    offsets = _offsets(net, context)
    for layer, weight in enumerate(_weights(net)):
        image = product(weight, seen) + offsets[layer]
        source = residual_source(net.spec, layer)
        if source is not None:
            image = image + rows[source]
        images.append(image)
        seen = net.activation(rows[layer])
    *hidden, params = images
    return States(tuple(hidden), params, _law(law, free, state)[0])


@_solve_made.defjvp
def _solve_made_jvp(law: Law, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    net, free, _, context = primals
    state, log_slopes = solve_made(law, *primals)

    # Checkpoints: what these need beside the states is cheaper to compute anew than to keep.
    @jax.checkpoint
    def of_theta(net: MADE, free: Array | None, context: Array | None) -> States:
        return _images(law, net, free, context, state)

    @jax.checkpoint
    def log_slopes_of(state: States, free: Array | None) -> Array:
        return -_law(law, free, state)[1]

    def matvec(d_state: States) -> States:
        of_state = jax.checkpoint(partial(_images, law, net, free, context))
        pushed = jax.jvp(of_state, (state,), (d_state,))[1]
        hidden = tuple(d - p for d, p in zip(d_state.hidden, pushed.hidden, strict=True))
        return States(hidden, d_state.params - pushed.params, pushed.positions)

    d_net, d_free, d_v, d_context = tangents
    _, shift = jax.jvp(of_theta, (net, free, context), (d_net, d_free, d_context))
    # One value, as it were: JAX transposes a solve only if its whole right side is linear.
    right_side = lax.optimization_barrier(shift._replace(positions=d_v - shift.positions))
    d_state = lax.custom_linear_solve(
        matvec,
        right_side,
        solve=lambda _, right_side: _solve_linearized(law, net, free, state, right_side),
        transpose_solve=lambda _, right_side: _solve_transposed(law, net, free, state, right_side),
    )
    _, d_log_slopes = jax.jvp(log_slopes_of, (state, free), (d_state, d_free))
    return (state, log_slopes), (d_state, d_log_slopes)


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
        return _law(law, free, state._replace(params=params))

    image, pull, log_slopes = jax.vjp(law_of, state.params, has_aux=True)
    hidden = tuple(jax.jvp(net.activation, (h,), (jnp.ones_like(h),))[1] for h in state.hidden)
    return _Slopes(hidden, pull(jnp.ones_like(image))[0], jnp.exp(log_slopes))


def _solve_linearized(
    law: Law, net: MADE, free: Array | None, state: States, right_side: States
) -> States:
    slopes = _slopes(law, net, free, state)

    def activate(layer: int, rows: Array, here: Window) -> Array:
        return here(slopes.hidden[layer]) * rows

    def conclude(rows: Array, rows_here: Window, here: Window) -> tuple[Array, Array]:
        pushed = sum(_params(law, rows_here(slopes.params) * rows))
        positions = (here(right_side.positions) - pushed) / here(slopes.positions)
        return positions, positions

    offsets = (*right_side.hidden, right_side.params)
    rules = Rules(activate, conclude)
    return forward_sweep(net.spec, _weights(net), offsets, right_side.positions, rules)[0]


def _solve_transposed(
    law: Law, net: MADE, free: Array | None, state: States, right_side: States
) -> States:
    slopes = _slopes(law, net, free, state)

    def divide(cotangent: Array, here: Window) -> Array:
        return cotangent / here(slopes.positions)

    def to_params(multipliers: Array, here: Window) -> Array:
        return -here(slopes.params) * jnp.repeat(multipliers, law.num_conditioned, axis=0)

    def pull_back(layer: int, cotangent: Array, here: Window) -> Array:
        return here(slopes.hidden[layer]) * cotangent

    rules = TransposedRules(divide, to_params, pull_back)
    return transposed_sweep(net.spec, _weights(net), right_side, rules)
