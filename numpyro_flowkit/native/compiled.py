"""Call the compiled sweep of a layer, and its way back."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowkit_core.native.plan import flat_plan
from flowkit_core.specs import MADESpec
from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.laws import Additive, Affine, Inverted, Law
from numpyro_flowkit.native.custom_calls import (
    Arrays,
    PointwiseCall,
    Targets,
    mapped_over_points,
    targets,
)
from numpyro_flowkit.spread import result_type


class Swept(NamedTuple):
    """What a sweep finds; B points.

    Args:
        u: (D, B).
        log_det: of the sequential map, (B,).
        raw: what the network puts out, position by position, (D * num_params, B).
        pres: what each hidden layer yields before its activation, (units, B).
    """

    u: Array
    log_det: Array
    raw: Array
    pres: Arrays


@dataclass(frozen=True)
class CompiledSweep:
    """The architecture of one layer, ready for the C side; hashable, hence static under jit.

    Args:
        spec: the conditioner's architecture.
        law: the law that the parallel map applies.
        targets: names of the custom calls.
    """

    spec: MADESpec
    law: Law
    targets: Targets

    def solve(self, net: MADE, free: Array | None, v: Array, context: Array | None) -> Swept:
        """Find u with ``law.forward(u_j; params(u_1 .. u_{j-1})) = v_j``.

        Args:
            net: the network.
            free: the law's free parameters (num_free, D), or None.
            v: (D, B).
            context: what the context adds to the first layer, (rows, B), or None.
        """
        points = (v,) if context is None else (v, context)
        call = _solve(self, context is not None)
        u, log_det, raw, *pres = call(points, _shared(net, free))
        return Swept(u, log_det, raw, tuple(pres))

    def pull(self, net: MADE, free: Array | None, at: Swept, given: Swept) -> Swept:
        """Solve the transposed of the equations linearised at what a sweep found.

        Args:
            net: the network.
            free: the law's free parameters (num_free, D), or None.
            at: what was found; its log-determinant is not used.
            given: cotangents of u, log-determinant, raw outputs and pre-activations.

        Returns:
            the multipliers of the equations of v, of the log-determinant, and of the rows.
        """
        points = (at.u, at.raw, *at.pres, given.u, given.log_det, given.raw, *given.pres)
        v, raw, *pres = _pull(self, whole=True)(points, _shared(net, free))
        return Swept(v, given.log_det, raw, tuple(pres))

    def pull_u(
        self, net: MADE, free: Array | None, at: Swept, given_u: Array, given_log_det: Array
    ) -> Array:
        """The multiplier of the equation of v alone, where rows have no cotangents.

        Args:
            net: the network.
            free: the law's free parameters (num_free, D), or None.
            at: what was found; its log-determinant is not used.
            given_u: cotangent of u, (D, B).
            given_log_det: of the sequential map's log-determinant, (B,).
        """
        points = (at.u, at.raw, *at.pres, given_u, given_log_det)
        (v,) = _pull(self, whole=False)(points, _shared(net, free))
        return v


def compiled_sweep(
    law: Law, net: MADE, free: Array | None, v: Array, context: Array | None
) -> CompiledSweep | None:
    """The compiled sweep of a layer, or None where there is none.

    That is off the CPU, without a compiler, for residual networks, for other laws, and where not
    all arrays are of one dtype.
    """
    spec, inner = net.spec, law.law if isinstance(law, Inverted) else law
    if jax.default_backend() != "cpu" or spec.residual or type(inner) not in (Additive, Affine):
        return None
    arrays = [v, *jax.tree.leaves((net, free, context))]
    dtypes = {jnp.result_type(array) for array in arrays}
    found = targets(str(v.dtype)) if len(dtypes) == 1 else None
    return None if found is None else CompiledSweep(spec, law, found)


def _shared(net: MADE, free: Array | None) -> Arrays:
    layers = range(net.num_layers)
    weights = [net.arrays[f"weight_{layer}"] for layer in layers]
    biases = [net.arrays[f"bias_{layer}"] for layer in layers]
    return (*weights, *biases, *(() if free is None else (free,)))


def _attributes(layer: CompiledSweep, context: bool) -> dict[str, np.ndarray | np.float64]:
    inverted = isinstance(layer.law, Inverted)
    inner = layer.law.law if isinstance(layer.law, Inverted) else layer.law
    affine = isinstance(inner, Affine)
    plan = flat_plan(layer.spec, affine=affine, inverted=inverted, context=context)
    return {"plan": plan, "bound": np.float64(inner.bound if isinstance(inner, Affine) else 1)}


@lru_cache(maxsize=256)
def _solve(layer: CompiledSweep, with_context: bool) -> PointwiseCall:
    attributes = _attributes(layer, with_context)

    def call(points: Arrays, shared: Arrays) -> Arrays:
        (v, *context), spec = points, layer.spec
        both = 2 * (len(spec.hidden_dims) + 1)
        rows = (spec.input_dim, None, spec.input_dim * spec.num_params, *spec.hidden_dims)
        found = jax.ffi.ffi_call(layer.targets.sweep, [_like(v, row) for row in rows])(
            v, *shared[:both], *context, *shared[both:], **attributes
        )
        return tuple(found)

    return mapped_over_points(call)


@lru_cache(maxsize=256)
def _pull(layer: CompiledSweep, *, whole: bool) -> PointwiseCall:
    attributes = _attributes(layer, False)  # the context is in the pre-activations

    def call(points: Arrays, shared: Arrays) -> Arrays:
        spec = layer.spec
        rows = (spec.input_dim, spec.input_dim * spec.num_params, *spec.hidden_dims)
        wanted = [_like(points[0], row) for row in (rows if whole else rows[:1])]
        found = jax.ffi.ffi_call(layer.targets.pullback, wanted)(*points, *shared, **attributes)
        return tuple(found)

    return mapped_over_points(call)


def _like(points: Array, rows: int | None) -> jax.ShapeDtypeStruct:
    size = points.shape[-1]
    return result_type(points, (size,) if rows is None else (rows, size))
