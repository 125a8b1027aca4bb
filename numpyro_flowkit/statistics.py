"""Layers that take their numbers from data: ActNorm and BatchNorm."""

import jax
import numpy as np
from jax import Array

from flowkit_core import checks
from numpyro_flowkit.transforms import Flow


def start_from_data(flow: Flow, x: Array, context: Array | None = None) -> Flow:
    """Start every ActNorm inside of a flow from a batch of data.

    The batch goes through the flow from the data side. Each `ActNorm` that waits for its first
    batch takes the mean and the standard deviation of what reaches it, over all batch axes, as its
    shift and scale, so what leaves it on the base side has mean 0 and standard deviation 1. Those
    that have started stay as they are. Each BatchNorm takes the statistics of the batch, too.
    `fit_density` does all this by itself, with the first minibatch, for a flow that needs it.

    The function is pure, and may be called under ``jit``, and under ``vmap`` over flows.

    Args:
        flow: a single flow; call a recipe's result with a key first.
        x: (..., D), finite, at least one row.
        context: (..., context_dim) for a conditional flow, else None.

    Returns:
        The flow with its ActNorm layers started; the one passed is left as it was.

    Raises:
        ValueError: for a wrong shape, no row at all, numbers that are not finite or not on the
            flow's data side (as far as they are known when the function is called), or a batch of
            flows.
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
    if x.size == 0:
        raise ValueError(f"x: expected at least one row to start from, got shape {x.shape}")
    if not isinstance(x, jax.core.Tracer):
        if not np.isfinite(x).all():
            raise ValueError("x: expected finite numbers, got NaN or inf")
        if not np.all(flow.codomain(x)):
            raise ValueError(
                f"x: expected points on the flow's data side, {flow.codomain}, got others"
            )
    return _observed(flow, x, context, replace=True)[2]


def set_batch_statistics(flow: Flow, x: Array, context: Array | None = None) -> Flow:
    """Replace the running averages of every BatchNorm by the statistics of a data set.

    After a fit, with the data it was fitted to: averages over the last minibatches are of weights
    that have moved since. MAF's authors evaluate in this way.

    Cost: one pass from data to base, over all rows at once.

    Args:
        flow: a single flow.
        x: (..., D), finite, at least two rows.
        context: (..., context_dim) for a conditional flow, else None.

    Returns:
        The flow with other statistics; the one passed is left as it was.

    Raises:
        ValueError: as `start_from_data`, and if an ActNorm inside has not started.
        TypeError: as `start_from_data`.

    Example:
        >>> import jax.numpy as jnp
        >>> from numpyro_flowkit import batch_norm
        >>> flow = set_batch_statistics(batch_norm(1)(jax.random.key(0)), jnp.array([[3.0], [7.0]]))
        >>> flow.mean.tolist()
        [5.0]
    """
    if checks.instance("flow", flow, Flow).awaits_data:
        raise ValueError("flow: an ActNorm inside awaits its first batch; call start_from_data")
    return start_from_data(flow, x, context)


def inverse_with_batch_statistics(
    flow: Flow, x: Array, context: Array | None = None
) -> tuple[Array, Array, Flow]:
    """Map data to base as training does: by the statistics of the batch, where a BatchNorm stands.

    What `fit_density` uses for its loss. Each BatchNorm normalises what reaches it by its own mean
    and variance over all batch axes, through which gradients go, and lets them enter the running
    averages of the flow that is returned. All else is as in `Flow.inverse_and_log_det`.

    In a training loop of your own the new flow is an auxiliary output of the loss, and the step is
    taken from it: its weights are those of the old one, its averages are new and have no gradient::

        (loss, seen), gradient = jax.value_and_grad(loss_and_flow, has_aux=True)(flow)
        updates, state = optimizer.update(gradient, state)
        flow = optax.apply_updates(seen, updates)

    Args:
        flow: a single flow.
        x: (..., D), at least two rows if a BatchNorm is inside.
        context: (..., context_dim) for a conditional flow, else None.

    Returns:
        z of shape (..., D), ``log |det dz/dx|`` of shape (...) at given statistics, and the flow
        that has seen the batch.

    Raises:
        ValueError, TypeError: as `Flow.inverse_and_log_det`.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.7.

    Example:
        >>> import jax.numpy as jnp
        >>> from numpyro_flowkit import batch_norm
        >>> z, log_det, flow = inverse_with_batch_statistics(
        ...     batch_norm(1, momentum=0.5)(jax.random.key(0)), jnp.array([[3.0], [7.0]])
        ... )
        >>> [round(value, 3) for value in z[:, 0].tolist()], flow.mean.tolist()
        ([-1.0, 1.0], [2.5])
    """
    if not checks.instance("flow", flow, Flow).takes_statistics:
        return *flow.inverse_and_log_det(x, context), flow
    (x,), context = flow._checked("x", (x,), context)
    return _observed(flow, x, context, replace=False)


def _observed(
    flow: Flow, x: Array, context: Array | None, *, replace: bool
) -> tuple[Array, Array, Flow]:
    """`Flow._observe`, compiled as a whole where nothing of a user's own is inside."""
    if flow.spec is None:
        return _observe(flow, x, context, replace)
    observed: tuple[Array, Array, Flow] = _compiled(flow, x, context, replace)
    return observed


def _observe(
    flow: Flow, x: Array, context: Array | None, replace: bool
) -> tuple[Array, Array, Flow]:
    observed, z, log_det = flow._observe(x, context, replace=replace)
    return z, log_det, observed


_compiled = jax.jit(_observe, static_argnums=3)
