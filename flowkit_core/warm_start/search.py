"""Of all the Gaussians that ascents from several starts lead to, the one with the best ELBO."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flowkit_core import checks
from flowkit_core.guide_layers import MAX_TRIANGULAR_DIM
from flowkit_core.warm_start import mean_field, pathfinder
from flowkit_core.warm_start.gaussian import Gaussian
from flowkit_core.warm_start.laplace import Laplace, laplace
from flowkit_core.warm_start.target import Floats, Target
from flowkit_core.warm_start.trajectory import Trajectory, ascend

METHODS = ("laplace", "pathfinder")

# Half-width of the cube that further starts are drawn from, as in the PPLs' init_to_uniform.
RADIUS = 2.0
# Points whose log-density is evaluated at once.
CHUNK = 128
# Standard Normal rows behind the ELBOs that are compared; the same for every Gaussian.
_NUM_DRAWS = 128
# Nats by which a Gaussian from the way must beat Laplace's, to be preferred for more than luck.
_MARGIN = 1.0
# Of the guide's own scale, where a climb of the ELBO starts. A horseshoe regression of 2000
# coefficients, 20 of them not zero: from 0.1 the climb may end 340 nats too low, at the prior,
# since its draws hide the signals in noise; from 0.01 it finds all of them.
_NARROWER = 0.1


@dataclass(frozen=True)
class WarmStart:
    """What a warm start found.

    Args:
        method: "laplace", "pathfinder", "mean_field" (see `find_gaussian`), or "start" where none
            found a Gaussian that is better than the one the guide had.
        elbo: of the Gaussian that the guide starts from, in nats.
        elbo_stderr: its standard error.
        log_density: of the highest point met.
        num_modes: modes found, counted once each; 0 if no ascent ended at one.
        gaussian: the Gaussian itself, over the packed unconstrained latents.
        params: NumPyro: the guide's parameters; Pyro: None, since the guide itself has changed.
    """

    method: str
    elbo: float
    elbo_stderr: float
    log_density: float
    num_modes: int
    gaussian: Gaussian = field(repr=False)
    params: Any = field(default=None, repr=False)


def find_gaussian(
    target: Target, starts: Sequence[Floats], fallback: Gaussian, *, method: str, seed: int
) -> WarmStart:
    """Climb from every start and compare the Gaussians on the way and at the top by their ELBO.

    Args:
        target: the posterior.
        starts: points to climb from.
        fallback: the Gaussian that the guide has without a warm start.
        method: "laplace" takes the Gaussian at a mode, unless one from the way has a better ELBO
            by more than a nat, as where there is no mode or a far too narrow one; "pathfinder"
            knows those from the way only, and needs no second derivatives. Where the covariance is
            diagonal because there are many latents, both also climb the ELBO, from the guide's own
            Gaussian and from the best one on the way.
        seed: of the draws that the ELBOs are estimated with.
    """
    method = checks.choice("warm_start", method, METHODS)
    diagonal = len(fallback.loc) > MAX_TRIANGULAR_DIM
    paths = [path for path in (ascend(target, start) for start in starts) if path is not None]
    z = np.random.default_rng(seed).normal(size=(_NUM_DRAWS, len(fallback.loc)))
    ranked = {"start": [_rated(fallback, target, z)]}
    on_the_way = [g for path in paths for g in pathfinder.gaussians(path, diagonal=diagonal)]
    ranked["pathfinder"] = [_rated(gaussian, target, z) for gaussian in on_the_way]
    if diagonal:
        ranked["mean_field"] = [
            _rated(gaussian, target, z)
            for gaussian in _improved(target, fallback, ranked["pathfinder"], seed)
        ]
    tops = [] if diagonal or method != "laplace" else _tops(target, paths)
    ranked["laplace"] = [_rated(top.gaussian, target, z) for top in tops]
    best = {name: max(rated, key=lambda r: r[0]) for name, rated in ranked.items() if rated}
    chosen = max(best, key=lambda name: best[name][0])
    if "laplace" in best and best[chosen][0] - best["laplace"][0] < _MARGIN:
        chosen = "laplace"
    elbo, stderr, gaussian = best[chosen]
    heights = [path.values.max() for path in paths] + [top.log_density for top in tops]
    return WarmStart(
        method=chosen,
        elbo=elbo,
        elbo_stderr=stderr,
        log_density=float(max(heights, default=math.nan)),
        num_modes=_count_modes(tops),
        gaussian=gaussian,
    )


def _improved(
    target: Target, fallback: Gaussian, rated: Sequence[tuple[float, float, Gaussian]], seed: int
) -> list[Gaussian]:
    """Mean-field Gaussians from the guide's own and from the best of the rated ones."""
    # The guide's own scale is no guess of the posterior's, which is left to be one.
    narrow = Gaussian(fallback.loc, _NARROWER * np.broadcast_to(fallback.scale, fallback.loc.shape))
    found = [mean_field.improve(target, narrow, np.ones_like(fallback.loc), seed=seed)]
    elbo, _, best = max(rated, key=lambda r: r[0], default=(-math.inf, 0.0, fallback))
    if math.isfinite(elbo):
        found.append(mean_field.improve(target, best, best.scale, seed=seed))
    return found


def _rated(gaussian: Gaussian, target: Target, z: Floats) -> tuple[float, float, Gaussian]:
    elbo, stderr = gaussian.elbo(target, z)
    return elbo, stderr, gaussian


def _tops(target: Target, paths: Sequence[Trajectory]) -> list[Laplace]:
    found = (laplace(target, path.points[path.values.argmax()]) for path in paths)
    return [top for top in found if top is not None]


def _count_modes(tops: Sequence[Laplace]) -> int:
    """Modes further apart than a standard deviation of the one that was met first."""
    modes: list[Gaussian] = []
    for top in tops:
        loc = top.gaussian.loc
        if top.is_mode and not any(
            np.linalg.norm(np.linalg.solve(m.scale, loc - m.loc)) < 1 for m in modes
        ):
            modes.append(top.gaussian)
    return len(modes)
