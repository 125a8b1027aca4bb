"""The way of L-BFGS up a log-density."""

from dataclasses import dataclass

import numpy as np

from flowkit_core.extras import require
from flowkit_core.warm_start.target import Floats, Target

_MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Trajectory:
    """Points of an ascent with log-densities and gradients there, in order.

    Args:
        points: (T, D).
        values: (T,).
        gradients: (T, D).
    """

    points: Floats
    values: Floats
    gradients: Floats


def ascend(target: Target, start: Floats) -> Trajectory | None:
    """Climb from ``start`` by L-BFGS; None if the density there is not finite.

    A step onto a point whose density is not finite is taken back by the line search.

    References:
        Liu, Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """
    optimize = require("scipy.optimize", extra="all", purpose="a warm start")
    seen: dict[bytes, tuple[float, Floats]] = {}
    value, gradient = target.value_and_gradient(start)
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        return None
    path = [(start, value, gradient)]
    lowest = value

    def descend(point: Floats) -> tuple[float, Floats]:
        nonlocal lowest
        value, gradient = target.value_and_gradient(point)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            # Worse than all that was met, by no more than the line search can interpolate.
            return -lowest + 1.0 + abs(lowest), np.zeros_like(point)
        lowest = min(lowest, value)
        seen[point.tobytes()] = (value, gradient)
        return -value, -gradient

    def keep(point: Floats) -> None:
        if point.tobytes() in seen:
            path.append((point.copy(), *seen[point.tobytes()]))
        seen.clear()

    options = {"maxiter": _MAX_ITERATIONS, "maxcor": 10, "ftol": 1e-14, "gtol": 1e-9}
    optimize.minimize(descend, start, jac=True, method="L-BFGS-B", callback=keep, options=options)
    points, values, gradients = (np.array(part) for part in zip(*path, strict=True))
    return Trajectory(points, values, gradients)
