"""Targets with exact answers; every density is normalised, so the log-evidence is 0.

The models themselves are in `targets_pyro` and `targets_numpyro`, under the same names.
"""

import numpy as np

from benchmarks.quality.problem import MOMENTS, QUANTILES, SYNTHETIC, Problem

FUNNEL_SD = 3.0
BANANA_SD, BANANA_BEND = 10.0, 0.03
GAUSSIAN_DIM, CONDITION = 20, 1e4
STUDENT_DIM, DF = 5, 2.5
MODES_DIM, MODE_AT, MODE_WEIGHTS = 5, 2.5, (0.3, 0.7)

ABOUT = {
    "funnel_10": "Neal's funnel, D = 10: v ~ N(0, 3), x_i ~ N(0, exp(v / 2)); v is compared, "
    "since the moments of x converge too slowly",
    "funnel_100": "the same, D = 100",
    "banana": "x_1 ~ N(0, 10), x_2 ~ N(0.03 (x_1^2 - 100), 1) (Haario, Saksman, Tamminen 1999)",
    "gaussian_1e4": "a correlated Gaussian, D = 20: variances from 0.01 to 100, evenly spaced in "
    "the log, in a rotated basis (condition number 1e4)",
    "student_t_2.5": "independent Student-t, D = 5, 2.5 degrees of freedom; compared by median and "
    "by half the width between the quantiles 15.9 % and 84.1 %, since the sd of draws converges "
    "too slowly",
    "two_modes": "0.3 N(-2.5 e_1, I) + 0.7 N(2.5 e_1, I), D = 5",
}

# What the documentation would send a user to for that target, measured beside the default.
CHOSEN_BASE = {"two_modes": "mixture"}


def covariance():
    """Of the correlated Gaussian, float64."""
    draws = np.random.default_rng(0).normal(size=(GAUSSIAN_DIM, GAUSSIAN_DIM))
    rotation, _ = np.linalg.qr(draws)
    variances = np.geomspace(CONDITION**-0.5, CONDITION**0.5, GAUSSIAN_DIM)
    return (rotation * variances) @ rotation.T


def problem(name):
    """The exact answers of a target."""
    site, location, scale, compare = _answers(name)
    return Problem(
        name=name,
        family=SYNTHETIC,
        sites=(site,),
        params=tuple(f"{site}[{i + 1}]" for i in range(len(location))),
        location=np.array(location, float),
        scale=np.array(scale, float),
        compare=(compare,) * len(location),
        log_evidence=0.0,
        log_evidence_stderr=0.0,
    )


def _answers(name):
    """Site, location, scale, and how they are compared."""
    if name.startswith("funnel"):
        return "v", [0.0], [FUNNEL_SD], MOMENTS
    if name == "banana":
        # x_2 = bend (x_1^2 - sd^2) + e, and x_1^2 has the variance 2 sd^4.
        return "x", [0.0, 0.0], [BANANA_SD, (1 + 2 * BANANA_BEND**2 * BANANA_SD**4) ** 0.5], MOMENTS
    if name == "gaussian_1e4":
        return "x", np.zeros(GAUSSIAN_DIM), np.sqrt(np.diag(covariance())), MOMENTS
    if name == "student_t_2.5":
        from scipy import stats

        half_width = stats.t.ppf(stats.norm.cdf(1.0), DF)
        return "x", np.zeros(STUDENT_DIM), np.full(STUDENT_DIM, half_width), QUANTILES
    if name == "two_modes":
        mean = MODE_AT * (MODE_WEIGHTS[1] - MODE_WEIGHTS[0])
        sd = (1 + MODE_AT**2 - mean**2) ** 0.5
        rest = MODES_DIM - 1
        return "x", [mean, *[0.0] * rest], [sd, *[1.0] * rest], MOMENTS
    raise KeyError(name)
