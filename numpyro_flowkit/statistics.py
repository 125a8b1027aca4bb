"""Layers that take their numbers from data, started."""

import jax
import numpy as np
from jax import Array

from flowkit_core import checks
from numpyro_flowkit.transforms import Flow


def start_from_data(flow: Flow, x: Array, context: Array | None = None) -> Flow:
    """Start every ActNorm inside of a flow from a batch of data.

    The batch goes through the flow from the data side. Each `ActNorm` that waits for its first
    batch takes the mean and the standard deviation of what reaches it, over all batch axes, as its
    shift and scale, so what leaves it on the base side has mean 0 and standard deviation 1. Layers
    that have started stay as they are. `fit_density` does this by itself, with the first minibatch.

    The function is pure, and may be called under ``jit``, and under ``vmap`` over flows.

    Args:
        flow: a single flow; call a recipe's result with a key first.
        x: (..., D), finite, at least one row.
        context: (..., context_dim) for a conditional flow, else None.

    Returns:
        The flow with its ActNorm layers started; the one passed is left as it was.

    Raises:
        ValueError: for a wrong shape, no row at all, numbers that are not finite (as far as they
            are known when the function is called), or a batch of flows.
        TypeError: for something that is no flow, or data that is not floating.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.1; Salimans, Kingma, "Weight normalization", 2016,
        section 3 (data-dependent initialisation).

    Example:
        >>> from numpyro_flowkit import act_norm, compose, realnvp
        >>> flow = compose(realnvp(2, num_layers=2), act_norm(2))(jax.random.key(0))
        >>> flow.awaits_data
        True
        >>> start_from_data(flow, 5 + jax.random.normal(jax.random.key(1), (100, 2))).awaits_data
        False
    """
    checks.instance("flow", flow, Flow)
    if flow.batch_shape:
        raise ValueError(
            f"flow: expected a single flow, got a batch of shape {flow.batch_shape}; "
            "jax.vmap(start_from_data, (0, None))(flow, x) starts each"
        )
    (x,), context = flow._checked("x", (x,), context)
    check_batch(x)
    observed = _observed if flow.spec is None else _compiled
    return observed(flow, x, context)


def _observed(flow: Flow, x: Array, context: Array | None) -> Flow:
    return flow._observe(x, context, replace=True)[0]


_compiled = jax.jit(_observed)


def check_batch(x: Array) -> None:
    """Raise ValueError unless ``x`` has rows, of finite numbers, to take statistics of."""
    if x.size == 0:
        raise ValueError(f"x: expected at least one row to start from, got shape {x.shape}")
    if not isinstance(x, jax.core.Tracer) and not np.isfinite(x).all():
        raise ValueError("x: expected finite numbers, got NaN or inf")
