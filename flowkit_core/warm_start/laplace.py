"""The Gaussian at a mode whose precision is the negative Hessian there."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowkit_core.warm_start.gaussian import Gaussian
from flowkit_core.warm_start.target import Floats, Target

_MAX_NEWTON_STEPS = 30
# Newton decrement (distance to the mode in posterior standard deviations) that counts as there.
_AT_MODE = 0.05


@dataclass(frozen=True)
class Laplace:
    """A Gaussian at the top of an ascent.

    Args:
        gaussian: at the best point reached.
        log_density: there.
        is_mode: whether the point is a mode and the Hessian negative definite, so that the Gaussian
            is Laplace's; else it is one of the same shape that a repaired Hessian gives.
    """

    gaussian: Gaussian
    log_density: float
    is_mode: bool


def laplace(target: Target, point: Floats) -> Laplace | None:
    """Newton's method from ``point``, then the Gaussian there; None if nothing finite is met.

    Newton's step does not feel the scales of the coordinates, on which L-BFGS in single precision
    comes to a halt far from the mode, measured in standard deviations.
    """
    value, gradient = target.value_and_gradient(point)
    shape = _repaired(-target.hessian(point))
    if shape is None or not np.isfinite(value):
        return None
    for _ in range(_MAX_NEWTON_STEPS):
        step = shape.covariance @ gradient
        if _length(gradient @ step) < 1e-4:
            break
        moved = _line_search(target, point, value, gradient, step)
        if moved is None:
            break
        point, value, gradient = moved
        found = _repaired(-target.hessian(point))
        if found is None:
            break
        shape = found
    decrement = _length(gradient @ shape.covariance @ gradient)
    is_mode = shape.was_definite and decrement < _AT_MODE
    return Laplace(Gaussian(point, shape.factor), value, is_mode)


def _length(square: Any) -> float:
    """Square root; zero for what rounding made negative."""
    return math.sqrt(max(float(square), 0.0))


def _line_search(
    target: Target, point: Floats, value: float, gradient: Floats, step: Floats
) -> tuple[Floats, float, Floats] | None:
    """The longest of the halved steps that does not lower the density by more than rounding."""
    slack = 8 * target.eps * (1 + abs(value))
    for halving in range(20):
        candidate = point + step * 0.5**halving
        new_value, new_gradient = target.value_and_gradient(candidate)
        if np.isfinite(new_gradient).all() and new_value >= value - slack:
            return candidate, new_value, new_gradient
    return None


@dataclass(frozen=True)
class _Shape:
    covariance: Floats
    factor: Floats
    was_definite: bool


def _repaired(precision: Floats) -> _Shape | None:
    """Covariance of a precision matrix that need not be positive definite.

    Scaled to a unit diagonal first, since rounding is relative to each coordinate's own scale.
    Negative eigenvalues are then turned round (the curvature's size is kept) and small ones
    raised.
    """
    if not np.isfinite(precision).all():
        return None
    precision = (precision + precision.T) / 2
    size = np.sqrt(np.abs(np.diagonal(precision)))
    size = np.where(size > 0, size, 1.0)
    values, vectors = np.linalg.eigh(precision / np.outer(size, size))
    was_definite = bool(values[0] > 1e-9)
    values = np.maximum(np.abs(values), 1e-9 if was_definite else 1e-3)
    covariance = (vectors / values) @ vectors.T / np.outer(size, size)
    try:
        factor = np.linalg.cholesky((covariance + covariance.T) / 2)
    except np.linalg.LinAlgError:
        return None
    return _Shape(covariance, factor, was_definite)
