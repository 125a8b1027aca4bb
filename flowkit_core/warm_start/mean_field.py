"""Mean-field variational inference: of diagonal Gaussians, one with a high ELBO.

Above the dimension for which second derivatives are affordable, L-BFGS knows the scale of single
latents only roughly, and the points on its way are no guide to where most of a posterior is: those
of sparse regressions have their highest density where every datum is fitted. Stochastic ascent of
the ELBO itself finds means and scales for the price of gradients.
"""

import math

import numpy as np

from flowkit_core.warm_start.gaussian import Gaussian
from flowkit_core.warm_start.target import Floats, Target

NUM_STEPS = 2000
# Of Adam, in the unit of each coordinate, at the start; it falls along a cosine.
_RATE = 0.02
_DECAYS = 0.9, 0.999


def improve(target: Target, start: Gaussian, unit: Floats, *, seed: int) -> Gaussian:
    """Climb the ELBO from a diagonal Gaussian by Adam, one antithetic pair of draws for each step.

    A start narrower than the posterior is a good one: while the draws lie close together the means
    move as a posterior mode would, so coefficients that the data speak for leave zero before the
    others have spread; a wide start drowns them in the noise of the rest.

    Steps whose density or gradient is not finite are left out.

    Args:
        target: the posterior.
        start: a diagonal Gaussian.
        unit: length of a step in each coordinate, (D,): its scale as far as it is known.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    # The mean in units from the start, and the log-scale.
    place = np.stack([np.zeros(len(unit)), np.log(start.scale)])
    first, second = np.zeros_like(place), np.zeros_like(place)
    taken = 0
    for step in range(NUM_STEPS):
        loc, scale = start.loc + unit * place[0], np.exp(place[1])
        z = rng.normal(size=len(unit))
        pair = [target.value_and_gradient(loc + sign * scale * z) for sign in (1, -1)]
        (up_value, up), (down_value, down) = pair
        if not (np.isfinite([up_value, down_value]).all() and np.isfinite(up + down).all()):
            continue
        # The entropy's derivative by each log-scale is one.
        gradient = 0.5 * np.stack([unit * (up + down), scale * z * (up - down) + 2])
        taken += 1
        first += (1 - _DECAYS[0]) * (gradient - first)
        second += (1 - _DECAYS[1]) * (gradient**2 - second)
        unbiased = first / (1 - _DECAYS[0] ** taken)
        size = np.sqrt(second / (1 - _DECAYS[1] ** taken)) + 1e-8
        rate = _RATE * 0.5 * (1 + math.cos(math.pi * step / NUM_STEPS))
        place += rate * unbiased / size
    return Gaussian(start.loc + unit * place[0], np.exp(place[1]))
