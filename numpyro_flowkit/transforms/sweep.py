"""The degree-sorted sweep: invert an autoregressive map at the cost of one pass.

See `flowkit_core.sweep` for the plan. Arrays are feature-major here, (features, batch): the units
of one step are then contiguous rows. The steps are the iterations of one ``lax.scan``, padded to a
common size, so compile time does not grow with the number of coordinates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from flowkit_core.specs import MADESpec
from flowkit_core.sweep import sweep_steps
from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.conditioners.base import product
from numpyro_flowkit.laws import Law

Index = NDArray[np.int32]


@dataclass(frozen=True)
class _Group:
    """The rows of one linear layer (or of the positions) that each step evaluates.

    Args:
        size: rows of the whole layer.
        rows: (steps, width) row indices; ``size``, one past the end, fills up short steps.
        starts: (steps,) first row of each step.
    """

    size: int
    rows: Index
    starts: Index

    @property
    def buffer_size(self) -> int:
        """Rows of a buffer into which every step can write its full width."""
        return self.size + self.rows.shape[1]


@dataclass(frozen=True)
class _Plan:
    """Groups of the positions and of each hidden linear layer."""

    positions: _Group
    hidden: tuple[_Group, ...]


@lru_cache(maxsize=256)
def _plan(spec: MADESpec) -> _Plan:
    steps = sweep_steps(spec)
    positions = _group(spec.input_dim, [(step.start, step.stop) for step in steps])
    layers = [
        _group(len(degrees), [step.units[i] for step in steps])
        for i, degrees in enumerate(spec.degrees)
    ]
    if spec.residual:  # every linear layer of the blocks has the degrees of the stream
        layers = layers * (len(spec.masks) - 1)
    return _Plan(positions, tuple(layers))


def _group(size: int, ranges: Sequence[tuple[int, int]]) -> _Group:
    width = max(stop - start for start, stop in ranges)
    rows = np.full((len(ranges), width), size, dtype=np.int32)
    for row, (start, stop) in zip(rows, ranges, strict=True):
        row[: stop - start] = np.arange(start, stop)
    starts = np.array([start for start, _ in ranges], dtype=np.int32)
    return _Group(size, rows, starts)


class _Steps(NamedTuple):
    """What each step needs, stacked along the first axis; S steps, batch B or 1.

    Args:
        values: (S, width, B), the entries of v.
        hidden: for each hidden linear layer its rows, (S, width, inputs), and their biases,
            (S, width, B or 1).
        output: the last layer's rows, (S, P, width, inputs), and biases, (S, P, width, B or 1).
        free: (S, num_free, width), or None.
        starts: first position, then first unit of each hidden layer; (S,) each.
    """

    values: Array
    hidden: tuple[tuple[Array, Array], ...]
    output: tuple[Array, Array]
    free: Array | None
    starts: tuple[Index, ...]


@partial(jax.jit, static_argnames="law")
def sweep(
    conditioner: MADE, law: Law, free: Array | None, v: Array, context: Array | None
) -> tuple[Array, Array]:
    """Find u with ``law.forward(u_j; params(u_1 .. u_{j-1})) = v_j``, coordinate by coordinate.

    Each hidden unit is evaluated once; all steps together do the arithmetic of one dense pass.

    Shapes: v (..., D) in autoregressive order; context (..., context_dim), its batch dimensions
    broadcast against those of v; free (num_free, D).

    Returns:
        u of the shape of v and ``log |det du/dv|`` of shape (...).
    """
    spec = conditioner.spec
    plan = _plan(spec)
    batch, size = v.shape[:-1], math.prod(v.shape[:-1])
    rows = v.reshape(size, spec.input_dim).T
    steps = _stack_steps(conditioner, plan, free, rows, _context_bias(conditioner, batch, context))
    dtype = jnp.result_type(*jax.tree.leaves(steps._replace(starts=())))
    buffers = tuple(
        jnp.zeros((group.buffer_size, size), dtype) for group in (plan.positions, *plan.hidden)
    )

    def advance(buffers: tuple[Array, ...], step: _Steps) -> tuple[tuple[Array, ...], Array]:
        known, *layers = buffers
        seen = known
        stream = jnp.zeros((), dtype)
        for layer, (weight, bias) in enumerate(step.hidden):
            raw = _dot(weight, seen) + bias
            if spec.residual and layer % 2 == 0:
                raw = stream = stream + raw
            seen = _write(layers[layer], conditioner.activation(raw), step.starts[1 + layer])
            layers[layer] = seen
        weight, bias = step.output
        free_params = () if step.free is None else tuple(step.free[..., None])
        u, log_slope = law.inverse(step.values, (*(_dot(weight, seen) + bias), *free_params))
        return (_write(known, u, step.starts[0]), *layers), log_slope.astype(dtype)

    (known, *_), log_slopes = lax.scan(advance, buffers, steps)
    real = np.flatnonzero(plan.positions.rows.ravel() < spec.input_dim)
    log_det = log_slopes.reshape(plan.positions.rows.size, size)[real].sum(0)
    return known[: spec.input_dim].T.reshape(v.shape), log_det.reshape(batch)


def _stack_steps(
    conditioner: MADE, plan: _Plan, free: Array | None, rows: Array, context_bias: Array | None
) -> _Steps:
    layers, inputs = [], plan.positions
    groups = [*plan.hidden, None]
    for layer, group in enumerate(groups):
        weight = conditioner.weight(layer)
        weight = jnp.pad(weight, ((0, 0), (0, inputs.buffer_size - inputs.size)))
        bias = conditioner.bias(layer)[:, None]
        if layer == 0 and context_bias is not None:
            bias = bias + context_bias
        if group is not None:
            layers.append((_gather(weight, group), _gather(bias, group)))
            inputs = group
    shape = (conditioner.spec.num_params, conditioner.spec.input_dim, -1)
    return _Steps(
        values=_gather(rows, plan.positions),
        hidden=tuple(layers),
        output=(
            _gather_positions(weight.reshape(shape), plan.positions),
            _gather_positions(bias.reshape(shape[:2] + bias.shape[1:]), plan.positions),
        ),
        free=None if free is None else _gather_positions(free[..., None], plan.positions)[..., 0],
        starts=tuple(group.starts for group in (plan.positions, *plan.hidden)),
    )


def _context_bias(conditioner: MADE, batch: tuple[int, ...], context: Array | None) -> Array | None:
    """What the context adds to the first layer: (units, B), or (units, 1) if it is the same."""
    if context is None:
        return None
    term = product(context, conditioner.arrays["context_weight"])
    if context.ndim == 1:
        return term[:, None]
    units = term.shape[-1]
    return jnp.broadcast_to(term, (*batch, units)).reshape(math.prod(batch), units).T


def _gather(values: Array, group: _Group) -> Array:
    """Rows of each step, (steps, width, ...), zero where a step is shorter than the width."""
    return values.at[group.rows].get(mode="fill", fill_value=0)


def _gather_positions(values: Array, group: _Group) -> Array:
    """The same for (params, positions, ...): (steps, params, width, ...)."""
    return jnp.swapaxes(_gather(jnp.swapaxes(values, 0, 1), group), 1, 2)


def _dot(weight: Array, seen: Array) -> Array:
    return jnp.matmul(weight, seen, precision=lax.Precision.HIGHEST)


def _write(buffer: Array, rows: Array, start: Array | Index) -> Array:
    """Write rows; those beyond a short step's own are overwritten before anything reads them."""
    return lax.dynamic_update_slice(buffer, rows.astype(buffer.dtype), (start, np.int32(0)))
