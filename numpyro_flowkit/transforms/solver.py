"""How the sequential direction is found: the choice of a method, and the fixed point."""

import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowkit_core.numerics import STOP_ROUNDING_ERRORS, round_trip_tolerance
from flowkit_core.reports import ConvergenceWarning
from numpyro_flowkit.conditioners import MADE
from numpyro_flowkit.laws import Law
from numpyro_flowkit.spread import vary, varying_axes
from numpyro_flowkit.transforms.law_params import ConditionerLike, law_params

# On an accelerator each step of a sweep costs the launch of a few small kernels, whatever they
# compute. From this many coordinates on, a handful of whole passes is cheaper.
ACCELERATOR_FIXED_POINT_FROM = 32


def choose_inverse(
    requested: str, conditioner: ConditionerLike, *, input_dim: int, platform: str
) -> str:
    """The method that ``inverse=requested`` means: "sweep" or "fixed_point".

    A network other than a MADE has no structure to sweep over. On a CPU the sweep costs less than
    two passes at every size, and a fixed point takes at least as many passes as it iterates: 5 on
    a fresh flow, 9 to 22 on trained ones, up to D on a single layer that was fitted to a chain.

    Args:
        requested: "auto", "sweep" or "fixed_point".
        conditioner: the network.
        input_dim: number of coordinates.
        platform: "cpu", "gpu" or "tpu".
    """
    if not isinstance(conditioner, MADE):
        return "fixed_point"
    if requested != "auto":
        return requested
    large = input_dim >= ACCELERATOR_FIXED_POINT_FROM
    return "fixed_point" if platform != "cpu" and large else "sweep"


class FixedPoint(NamedTuple):
    """What the iteration arrived at.

    Args:
        u: (..., D).
        log_slope: of the sequential map, (..., D).
        iterations: parallel passes taken.
    """

    u: Array
    log_slope: Array
    iterations: Array


@partial(jax.jit, static_argnames="law")
def fixed_point(
    conditioner: ConditionerLike, law: Law, free: Array | None, v: Array, context: Array | None
) -> FixedPoint:
    """Jacobi iteration ``u <- p_u^-1(v)`` with the parameters taken at the last u.

    After j iterations the first j coordinates are exact, so D iterations are. It stops earlier
    once no point moves by more than its rounding. Entries that are not finite are set back to
    the first guess while it is under way, because zeros of a mask times infinity would spoil
    coordinates that are right already; they count as settled, so that a NaN holds nobody up.

    Warns:
        ConvergenceWarning: if a point still moves by more than `round_trip_tolerance` after D
            iterations, as it may with a network that is not autoregressive.

    References:
        Song et al., "Accelerating Feedforward Computation via Parallel Nonlinear Equation
        Solving", 2021, section 3.
    """
    cap = v.shape[-1]
    eps = float(jnp.finfo(v.dtype).eps)

    def step(u: Array) -> tuple[Array, Array]:
        guess = jnp.where(jnp.isfinite(u), u, v)
        return law.inverse(v, law_params(conditioner, law, free, guess, context, cap))

    def moving(new: Array, old: Array, tolerance: float) -> Array:
        update = jnp.abs(new - old)
        update = jnp.max(jnp.where(jnp.isfinite(update), update, 0), axis=-1)
        size = jnp.max(jnp.where(jnp.isfinite(new), jnp.abs(new), 0), axis=-1)
        return jnp.any(update > tolerance * size)

    def improve(state: tuple[FixedPoint, Array]) -> tuple[FixedPoint, Array]:
        old = state[0]
        u, log_slope = step(old.u)
        new = FixedPoint(u, log_slope.astype(v.dtype), old.iterations + 1)
        return new, moving(u, old.u, STOP_ROUNDING_ERRORS * eps)

    axes = varying_axes(v, *jax.tree.leaves((conditioner, free, context)))
    start = FixedPoint(vary(v, axes), vary(jnp.zeros_like(v), axes), jnp.zeros((), jnp.int32))
    found, unsettled = lax.while_loop(
        lambda state: state[1] & (state[0].iterations < cap),
        improve,
        (start, vary(jnp.asarray(v.size > 0), axes)),
    )
    lax.cond(
        unsettled & (found.iterations == cap),
        lambda u: _report(moving(step(u)[0], u, round_trip_tolerance(eps)), cap),
        lambda u: None,
        found.u,
    )
    return found


def _report(unsettled: Array, iterations: int) -> None:
    # Under vmap both branches of a cond run, so the flag is looked at again on the host.
    jax.debug.callback(partial(_warn, iterations=iterations), unsettled)


def _warn(unsettled: Array, *, iterations: int) -> None:
    if unsettled:
        warnings.warn(
            f"the fixed point still moves by more than rounding after {iterations} iterations, "
            "which are exact for an autoregressive network; is the conditioner one, in the order "
            "given?",
            ConvergenceWarning,
            stacklevel=2,
        )
