"""Gaussians along the way of an optimiser, with the inverse Hessian that its steps tell of.

References:
    Zhang, Carpenter, Gelman, Vehtari, "Pathfinder: Parallel quasi-Newton variational inference",
    2022, algorithms 1 to 3.
"""

import numpy as np

from flowkit_core.warm_start.gaussian import Gaussian
from flowkit_core.warm_start.target import Floats
from flowkit_core.warm_start.trajectory import Trajectory

# Steps that the inverse Hessian remembers; fewer lose the correlations, more blur the place.
_HISTORY = 20
# Gaussians taken from one trajectory: the ELBO is flat between neighbouring points.
_MAX_GAUSSIANS = 20


def gaussians(path: Trajectory, *, diagonal: bool) -> list[Gaussian]:
    """A Gaussian at points spread over the trajectory, its end included.

    Args:
        path: of an ascent.
        diagonal: neglect correlations, in O(D) for each point.
    """
    chosen = set(np.unique(np.linspace(1, len(path.points) - 1, _MAX_GAUSSIANS).astype(int)))
    found: list[Gaussian] = []
    pairs: list[tuple[Floats, Floats]] = []
    alpha = np.ones(path.points.shape[1])
    for t in range(1, len(path.points)):
        s = path.points[t] - path.points[t - 1]
        y = path.gradients[t - 1] - path.gradients[t]  # of the negative log-density
        # A step along which the curvature is not clearly positive tells nothing of the inverse.
        if s @ y > 1e-12 * (y @ y):
            alpha = _diagonal_update(alpha, s, y)
            pairs = [*pairs, (s, y)][-_HISTORY:]
        if t in chosen and pairs:
            gaussian = _at(path.points[t], path.gradients[t], alpha, pairs, diagonal=diagonal)
            if gaussian is not None:
                found.append(gaussian)
    return found


def _diagonal_update(alpha: Floats, s: Floats, y: Floats) -> Floats:
    """Diagonal of an inverse Hessian after one more step (Gilbert, Lemarechal, 1989)."""
    a, b, c = (y * y * alpha).sum(), (y * s).sum(), (s * s / alpha).sum()
    inverse = a / (b * alpha) + y * y / b - a * s * s / (b * c * alpha * alpha)
    updated: Floats = np.where(inverse > 0, 1 / np.where(inverse > 0, inverse, 1), alpha)
    return updated


def _at(
    point: Floats,
    gradient: Floats,
    alpha: Floats,
    pairs: list[tuple[Floats, Floats]],
    *,
    diagonal: bool,
) -> Gaussian | None:
    if diagonal:
        return Gaussian(point + alpha * gradient, np.sqrt(alpha))
    inverse: Floats = np.diag(alpha)
    for s, y in pairs:  # the BFGS update of an inverse Hessian
        rho = 1 / (s @ y)
        left = np.eye(len(point)) - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)
    try:
        scale = np.linalg.cholesky((inverse + inverse.T) / 2).astype(np.float64)
    except np.linalg.LinAlgError:
        return None
    return Gaussian(np.asarray(point + inverse @ gradient, np.float64), scale)
