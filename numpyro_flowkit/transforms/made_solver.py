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
from jax.tree_util import PyTreeDef

from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.laws import Law
from numpyro_flowkit.native.compiled import CompiledSweep, Swept, compiled_sweep
from numpyro_flowkit.native.tie import tie
from numpyro_flowkit.transforms.kept_whole import Arrays, kept_whole
from numpyro_flowkit.transforms.made_equations import (
    apply_law,
    context_term,
    free_rows,
    images,
    layer_offsets,
    layer_weights,
    solve_linearized,
    solve_transposed,
    split_params,
)
from numpyro_flowkit.transforms.sweep import Rules, States, forward_sweep
from numpyro_flowkit.transforms.windows import Window


def solve_made(
    law: Law, net: MADE, free: Array | None, v: Array, context: Array | None
) -> tuple[States, Array]:
    """The states at which the parallel map yields v, and the sequential map's log-determinant.

    Args:
        law: the law that the parallel map applies.
        net: the network.
        free: the law's free parameters (num_free, D), or None.
        v: (D, B), in autoregressive order.
        context: (context_dim, B or 1), or None.
    """
    compiled = compiled_sweep(law, net, free, v, context)
    return _solve(law, compiled, net, free, v, context)


class _Static(NamedTuple):
    """What is no array: the law, the way to sweep, and how arrays make up the arguments."""

    law: Law
    compiled: CompiledSweep | None
    structure: PyTreeDef


class _Solution(NamedTuple):
    """What solves the equations: the states, and the log-determinant, (B,)."""

    state: States
    log_det: Array

    def flat(self) -> list[Array]:
        return [*self.state.hidden, self.state.params, self.state.positions, self.log_det]


# Compiled on its own so that JAX traces and differentiates equal layers once.
@partial(jax.jit, static_argnums=(0, 1))
def _solve(law: Law, compiled: CompiledSweep | None, *inputs: Any) -> tuple[States, Array]:
    arrays, structure = jax.tree.flatten(inputs)
    *hidden, params, positions, log_det = _solved(_Static(law, compiled, structure), *arrays)
    return States(tuple(hidden), params, positions), log_det


def _evaluate(static: _Static, *arrays: Array) -> tuple[Array, ...]:
    net, free, v, context = jax.tree.unflatten(static.structure, arrays)
    law = static.law
    if static.compiled is not None:
        term = None
        if context is not None:
            term = context_term(net, context)
            term = jnp.broadcast_to(term, (len(term), v.shape[-1]))
        found = static.compiled.solve(net, free, v, term)
        return *found.pres, found.raw, found.u, found.log_det

    def conclude(rows: Array, rows_here: Window, here: Window) -> tuple[Array, Array]:
        return law.inverse(here(v), (*split_params(law, rows), *free_rows(free, here)))

    rules = Rules(lambda _, rows, here: net.activation(rows), conclude)
    weights, offsets = layer_weights(net), layer_offsets(net, context)
    states, slopes = forward_sweep(net.spec, weights, offsets, v, rules)
    return *states.hidden, states.params, states.positions, slopes.sum(0)


def _shapes(static: _Static, *arrays: jax.ShapeDtypeStruct) -> list[jax.ShapeDtypeStruct]:
    net, _, v, _ = jax.tree.unflatten(static.structure, arrays)
    (dim, points), dtype = v.shape, jnp.result_type(*arrays)
    rows = [net.arrays[f"bias_{layer}"].shape[0] for layer in range(net.num_layers)]
    return [jax.ShapeDtypeStruct((n, points), dtype) for n in (*rows, dim)] + [
        jax.ShapeDtypeStruct((points,), dtype)
    ]


def pull_made(law: Law, net: MADE, free: Array | None, state: States, cotangent: Array) -> Array:
    """``J^-T (cotangent - grad L)`` for the Jacobian J and log-determinant L of the parallel map.

    Args:
        law: the law that the parallel map applies.
        net: the network.
        free: the law's free parameters (num_free, D), or None.
        state: where, as `states_at` finds it.
        cotangent: (D, B).
    """
    ones = jnp.ones_like(cotangent[0])
    if (compiled := compiled_sweep(law, net, free, state.params, None)) is not None:
        at = Swept(state.positions, ones, state.params, state.hidden)
        return compiled.pull_u(net, free, at, cotangent, ones)
    right = _Solution(jax.tree.map(jnp.zeros_like, state)._replace(positions=cotangent), ones)
    return _transposed(law, None, net, free, state, right).state.positions


def _log_det(law: Law, free: Array | None, state: States) -> Array:
    return -apply_law(law, free, state)[1].sum(0)


def _transposed(
    law: Law,
    compiled: CompiledSweep | None,
    net: MADE,
    free: Array | None,
    state: States,
    right: _Solution,
) -> _Solution:
    """Solve the transposed of the equations linearised at ``state``."""
    if compiled is not None:
        at = Swept(state.positions, right.log_det, state.params, state.hidden)
        given = Swept(right.state.positions, right.log_det, right.state.params, right.state.hidden)
        pulled = compiled.pull(net, free, at, given)
        return _Solution(States(pulled.pres, pulled.raw, pulled.u), right.log_det)
    (of_log_det,) = jax.vjp(partial(_log_det, law, free), state)[1](right.log_det)
    total = jax.tree.map(jnp.add, right.state, of_log_det)
    return _Solution(solve_transposed(law, net, free, state, total), right.log_det)


def _derivative(static: _Static, arrays: Arrays, directions: Arrays) -> tuple[Arrays, Arrays]:
    law, compiled, structure = static
    net, free, _, context = primals = jax.tree.unflatten(structure, arrays)
    if compiled is not None:
        # So the way back finishes the gradients of these weights before it goes on.
        directions = tie(directions, compiled.targets.tie)
    tangents = jax.tree.unflatten(structure, directions)
    found = _Solution(*_solve(law, compiled, *primals))
    state = found.state

    # Barriers make one value of several, as it were: JAX transposes a solve, or a derivative of
    # one, only if the whole right side is linear in what it transposes.
    def matvec(unknown: _Solution) -> _Solution:
        unknown = lax.optimization_barrier(unknown)
        of_state = jax.checkpoint(partial(images, law, net, free, context))
        pushed, pushed_log_det = jax.jvp(of_state, (state,), (unknown.state,))[1]
        pairs = zip(unknown.state.hidden, pushed.hidden, strict=True)
        hidden, params = tuple(d - p for d, p in pairs), unknown.state.params - pushed.params
        rows = States(hidden, params, pushed.positions)
        return lax.optimization_barrier(_Solution(rows, unknown.log_det - pushed_log_det))

    def solve(right: _Solution) -> _Solution:
        found = solve_linearized(law, net, free, state, right.state)
        pushed = jax.jvp(partial(_log_det, law, free), (state,), (found,))[1]
        return _Solution(found, right.log_det + pushed)

    # A checkpoint: what it needs beside the states is cheaper to compute anew than to keep.
    @jax.checkpoint
    def of_theta(net: MADE, free: Array | None, context: Array | None) -> Any:
        return images(law, net, free, context, state)

    d_net, d_free, d_v, d_context = tangents
    _, shift = jax.jvp(of_theta, (net, free, context), (d_net, d_free, d_context))
    rows, log_det_shift = shift
    right_side = _Solution(rows._replace(positions=d_v - rows.positions), log_det_shift)
    right_side = lax.optimization_barrier(right_side)
    direction = lax.custom_linear_solve(
        matvec,
        right_side,
        solve=lambda _, right: solve(right),
        transpose_solve=lambda _, right: _transposed(law, compiled, net, free, state, right),
    )
    return found.flat(), direction.flat()


_solved = kept_whole("flowkit_sweep", _evaluate, _shapes, _derivative)
