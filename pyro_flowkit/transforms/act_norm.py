"""Activation normalisation: a diagonal affine layer started from data."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from flowkit_core.numerics import CONSTANT_ROUNDING_ERRORS
from flowkit_core.specs import ActNormSpec
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.diagonal_affine import DiagonalAffine


class ActNorm(DiagonalAffine):
    """``x = exp(log_scale) * z + shift``, started so that the first batch is standardised.

    `start_from_data` (which `fit_density` calls) sets the mean and the standard deviation of each
    coordinate, over all batch axes, as shift and scale: on the base side the batch then has mean 0
    and standard deviation 1. Whether that has happened is part of the spec and of ``state_dict()``,
    so it survives copies, pickles and files.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: D per point in either direction, exact; ``log |det| = sum(log_scale)``.

    Stability: a coordinate that is constant in the batch, as all are in a batch of one row, keeps
    the scale 1.

    Args:
        spec: ``ActNormSpec(input_dim, started=False)``.
        arrays: log_scale and shift.

    Raises:
        ValueError: when used before its first batch.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.1.

    Example:
        >>> from pyro_flowkit import act_norm, start_from_data
        >>> flow = start_from_data(act_norm(1), torch.tensor([[3.0], [7.0]]))
        >>> flow.inv(torch.tensor([[3.0], [7.0]])).tolist()
        [[-1.0], [1.0]]
    """

    spec: ActNormSpec

    @property
    def takes_statistics(self) -> bool:
        """True."""
        return True

    @property
    def awaits_data(self) -> bool:
        """Whether the first batch is still to come."""
        return not self.spec.started

    def _weight(self, name: str) -> Tensor:
        self.spec.check_started()
        return super()._weight(name)

    def _observe(
        self, x: Tensor, context: Tensor | None, *, replace: bool
    ) -> tuple[Flow, Tensor, Tensor]:
        if replace and self.awaits_data:
            with torch.no_grad():
                mean, deviation = mean_and_deviation(x)
                self.shift.copy_(mean)
                self.log_scale.copy_(torch.log(deviation))
            self.spec = dataclasses.replace(self.spec, started=True)
        return super()._observe(x, context, replace=replace)

    def get_extra_state(self) -> Tensor:
        """What ``state_dict()`` holds besides the weights: whether the layer has started."""
        return torch.tensor(self.spec.started)

    def set_extra_state(self, state: Any) -> None:
        """Take over what ``state_dict()`` of another layer held."""
        self.spec = dataclasses.replace(self.spec, started=bool(state))


def mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate over all batch axes; 1 for constant ones.

    Args:
        x: (..., D), at least one row.
    """
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(0)
    mean = mean + (rows - mean).mean(0)  # what rounding has left of a long sum
    centred = rows - mean
    # In units of the largest, so that no square overflows or vanishes.
    peak = centred.abs().amax(0)
    unit = torch.where(peak > 0, peak, 1)
    deviation = peak * (centred / unit).square().mean(0).sqrt()
    limits = torch.finfo(x.dtype)
    rounding = CONSTANT_ROUNDING_ERRORS * limits.eps * rows.abs().amax(0)
    return mean, torch.where(deviation > rounding.clamp(min=limits.tiny), deviation, 1)
