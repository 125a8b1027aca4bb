"""Layers that take their numbers from data: ActNorm and BatchNorm."""

import torch
from torch import Tensor

from flowkit_core import checks
from pyro_flowkit.transforms import Flow


def start_from_data(flow: Flow, x: Tensor, context: Tensor | None = None) -> Flow:
    """Start every ActNorm inside of a flow from a batch of data, in place.

    The batch goes through the flow from the data side. Each `ActNorm` that waits for its first
    batch takes the mean and the standard deviation of what reaches it, over all batch axes, as its
    shift and scale, so what leaves it on the base side has mean 0 and standard deviation 1. Those
    that have started stay as they are. Each BatchNorm takes the statistics of the batch, too.
    `fit_density` does all this by itself, with the first minibatch, for a flow that needs it.

    Args:
        flow: a flow.
        x: (..., D), finite, at least one row, of the flow's dtype.
        context: (..., context_dim) for a conditional flow, else None.

    Returns:
        The flow itself.

    Raises:
        ValueError: for a wrong shape, no row at all, or numbers that are not finite or not on the
            flow's data side.
        TypeError: for something that is no flow, or data of another dtype.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.1; Salimans, Kingma, "Weight normalization", 2016,
        section 3 (data-dependent initialisation).

    Example:
        >>> from pyro_flowkit import act_norm, compose, realnvp
        >>> flow = compose(realnvp(2, num_layers=2), act_norm(2))
        >>> flow.awaits_data
        True
        >>> start_from_data(flow, 5 + torch.randn(100, 2)).awaits_data
        False
    """
    checks.instance("flow", flow, Flow)
    x, context = flow._checked("x", x, context)
    if x.numel() == 0:
        raise ValueError(f"x: expected at least one row to start from, got shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError("x: expected finite numbers, got NaN or inf")
    if not flow.codomain.check(x).all():
        raise ValueError(f"x: expected points on the flow's data side, {flow.codomain}, got others")
    with torch.no_grad():
        flow._observe(x, context, replace=True)
    return flow


def set_batch_statistics(flow: Flow, x: Tensor, context: Tensor | None = None) -> Flow:
    """Replace the running averages of every BatchNorm by the statistics of a data set, in place.

    After a fit, with the data it was fitted to: averages over the last minibatches are of weights
    that have moved since. MAF's authors evaluate in this way.

    Cost: one pass from data to base, over all rows at once.

    Args:
        flow: a flow.
        x: (..., D), finite, at least two rows, of the flow's dtype.
        context: (..., context_dim) for a conditional flow, else None.

    Returns:
        The flow itself.

    Raises:
        ValueError: as `start_from_data`, and if an ActNorm inside has not started.
        TypeError: as `start_from_data`.

    Example:
        >>> from pyro_flowkit import batch_norm
        >>> flow = set_batch_statistics(batch_norm(1), torch.tensor([[3.0], [7.0]]))
        >>> flow.mean.tolist()
        [5.0]
    """
    if checks.instance("flow", flow, Flow).awaits_data:
        raise ValueError("flow: an ActNorm inside awaits its first batch; call start_from_data")
    return start_from_data(flow, x, context)


def inverse_with_batch_statistics(
    flow: Flow, x: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor, Flow]:
    """Map data to base as training does: by the statistics of the batch, where a BatchNorm stands.

    What `fit_density` uses for its loss. Each BatchNorm normalises what reaches it by its own mean
    and variance over all batch axes, through which gradients go, and lets them enter its running
    averages, in place. All else is as in `Flow.inverse_and_log_det`.

    Args:
        flow: a flow.
        x: (..., D), at least two rows if a BatchNorm is inside.
        context: (..., context_dim) for a conditional flow, else None.

    Returns:
        z of shape (..., D), ``log |det dz/dx|`` of shape (...) at given statistics, and the flow
        itself.

    Raises:
        ValueError, TypeError: as `Flow.inverse_and_log_det`.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.7.

    Example:
        >>> from pyro_flowkit import batch_norm
        >>> z, log_det, flow = inverse_with_batch_statistics(
        ...     batch_norm(1, momentum=0.5), torch.tensor([[3.0], [7.0]])
        ... )
        >>> [round(value, 3) for value in z[:, 0].tolist()], flow.mean.tolist()
        ([-1.0, 1.0], [2.5])
    """
    if not checks.instance("flow", flow, Flow).takes_statistics:
        return *flow.inverse_and_log_det(x, context), flow
    observed, z, log_det = flow._observe(*flow._checked("x", x, context), replace=False)
    return z, log_det, observed
