"""Elementwise derivatives of an autoregressive layer: its Jacobian, weights apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_flowkit.laws import Law
from pyro_flowkit.transforms.feature_major import FeatureMajorMADE


@dataclass(frozen=True)
class Linearized:
    """Elementwise derivatives of a layer at one point of each column.

    Args:
        slope: dv/du, (D, batch).
        slope_by_u: dl/du, (D, batch).
        by_raw: dv/dp of the conditioned parameters, (D, num_params, batch).
        slope_by_raw: dl/dp of them.
        by_free: dv/dp of the free parameters, (num_free, D, batch).
        slope_by_free: dl/dp of them.
        activations: act'(pre) of each hidden layer, (units, batch).
    """

    slope: Tensor
    slope_by_u: Tensor
    by_raw: Tensor
    slope_by_raw: Tensor
    by_free: tuple[Tensor, ...]
    slope_by_free: tuple[Tensor, ...]
    activations: tuple[Tensor, ...]


def linearize(
    net: FeatureMajorMADE,
    law: Law,
    free: Tensor | None,
    u: Tensor,
    raw: Tensor,
    pres: Sequence[Tensor],
) -> Linearized:
    """Differentiate the law and the activations, each entry by itself.

    Args:
        net: the conditioner.
        law: the law that the parallel map applies.
        free: its free parameters (num_free, D), or None.
        u: (D, batch).
        raw: outputs of the network at u, (D, num_params, batch).
        pres: its pre-activations.
    """
    rows = () if free is None else (row[:, None].expand_as(u) for row in free.unbind(0))
    with torch.enable_grad():
        inputs = [t.detach().requires_grad_() for t in (u, *raw.unbind(1), *rows)]
        v, log_slope = law.forward(inputs[0], tuple(inputs[1:]))
        by_params = _diagonal(v, inputs[1:])
        slope_by_u, *slope_by_params = _diagonal(log_slope, inputs)
        leaves = [pre.detach().requires_grad_() for pre in pres]
        activations = [_diagonal(net.activation(leaf), [leaf])[0] for leaf in leaves]
    count = net.spec.num_params
    return Linearized(
        slope=log_slope.detach().exp(),
        slope_by_u=slope_by_u,
        by_raw=torch.stack(by_params[:count], 1),
        slope_by_raw=torch.stack(slope_by_params[:count], 1),
        by_free=tuple(by_params[count:]),
        slope_by_free=tuple(slope_by_params[count:]),
        activations=tuple(activations),
    )


def _diagonal(values: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Derivative of each entry of ``values`` by the entry of the same place in each input."""
    if not values.requires_grad:
        return [torch.zeros_like(t) for t in inputs]
    ones = torch.ones_like(values)
    found = torch.autograd.grad(values, inputs, ones, retain_graph=True, materialize_grads=True)
    return list(found)
