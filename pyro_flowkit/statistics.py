"""Layers that take their numbers from data, started."""

import torch
from torch import Tensor

from flowkit_core import checks
from pyro_flowkit.transforms import Flow


def start_from_data(flow: Flow, x: Tensor, context: Tensor | None = None) -> Flow:
    """Start every ActNorm inside of a flow from a batch of data, in place.

    The batch goes through the flow from the data side. Each `ActNorm` that waits for its first
    batch takes the mean and the standard deviation of what reaches it, over all batch axes, as its
    shift and scale, so what leaves it on the base side has mean 0 and standard deviation 1. Layers
    that have started stay as they are. `fit_density` does this by itself, with the first minibatch.

    Args:
        flow: a flow.
        x: (..., D), finite, at least one row, of the flow's dtype.
        context: (..., context_dim) for a conditional flow, else None.

    Returns:
        The flow itself.

    Raises:
        ValueError: for a wrong shape, no row at all, or numbers that are not finite.
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
    check_batch(x)
    with torch.no_grad():
        flow._observe(x, context, replace=True)
    return flow


def check_batch(x: Tensor) -> None:
    """Raise ValueError unless ``x`` has rows, of finite numbers, to take statistics of."""
    if x.numel() == 0:
        raise ValueError(f"x: expected at least one row to start from, got shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError("x: expected finite numbers, got NaN or inf")
