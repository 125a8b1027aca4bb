"""Numbers with error bars, and intervals whose ends have them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Fewer means than this tell too little of their own spread.
_ENOUGH_RUNS = 10


@dataclass(frozen=True)
class Estimate:
    """A number and the standard error of its Monte Carlo estimate; ``float()`` gives the number.

    Args:
        value: the estimate.
        stderr: its standard error; NaN where a single draw tells nothing of it.

    Example:
        >>> print(Estimate(1.23456, 0.01))
        1.235 +- 0.010
        >>> float(Estimate(2.0, 0.1)), Estimate(2.0, 0.1).within(2.25)
        (2.0, True)
    """

    value: float
    stderr: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:z.3f} +- {self.stderr:.3f}"

    def within(self, truth: float, num_stderr: float = 3.0) -> bool:
        """Whether ``truth`` is at most so many standard errors away."""
        return abs(self.value - truth) <= num_stderr * self.stderr

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"value": self.value, "stderr": self.stderr}


@dataclass(frozen=True)
class Bounds:
    """A lower and an upper bound, each estimated by Monte Carlo.

    Args:
        lower: its expectation is no larger than the bounded number.
        upper: its expectation is no smaller.

    Example:
        >>> bounds = Bounds(Estimate(2.8, 0.01), Estimate(3.5, 0.02))
        >>> print(bounds)
        2.800 +- 0.010 to 3.500 +- 0.020
        >>> bounds.contains(3.2), bounds.contains(4.0)
        (True, False)
    """

    lower: Estimate
    upper: Estimate

    def interval(self, num_stderr: float = 3.0) -> tuple[float, float]:
        """The bounds, moved apart by so many of their standard errors."""
        return (
            self.lower.value - num_stderr * self.lower.stderr,
            self.upper.value + num_stderr * self.upper.stderr,
        )

    def contains(self, truth: float, num_stderr: float = 3.0) -> bool:
        """Whether ``truth`` lies in `interval`."""
        low, high = self.interval(num_stderr)
        return low <= truth <= high

    def __str__(self) -> str:
        return f"{self.lower} to {self.upper}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"lower": self.lower.to_dict(), "upper": self.upper.to_dict()}


def mean_over_rows(terms: Floats) -> Estimate:
    """The mean of terms (num_samples, n): draws of each of n fixed data points.

    The data are given, so chance is in the draws alone. With several draws of each point,
    ``stderr^2 = (1 / n^2) sum_i var_i / num_samples`` from the variance within points. A single
    draw cannot tell it from the spread between points: then ``stderr^2 = var / n`` of all terms,
    which is too large by what the points themselves differ.

    Example:
        >>> mean_over_rows(np.array([[0.0, 10.0], [2.0, 12.0]]))
        Estimate(value=6.0, stderr=0.7071067811865476)
    """
    samples, rows = terms.shape
    value = float(terms.mean())
    if samples > 1:
        return Estimate(value, math.sqrt(float(terms.var(0, ddof=1).mean()) / (samples * rows)))
    spread = float(terms.var(ddof=1)) if rows > 1 else math.nan
    return Estimate(value, math.sqrt(spread / rows))


def mean_over_neighbours(terms: Floats, reach: int) -> Estimate:
    """The mean of terms (num_samples, n) of which those next to each other depend on each other.

    Rows less than ``reach`` apart share draws, so the standard error is the larger one of
    `mean_over_rows` of all terms as if independent and of the means of runs of ``reach`` rows, if
    there are enough of those to tell.

    Example:
        >>> equal_in_pairs = np.repeat([[0.0, 1.0, 2.0, 3.0] * 4], 2, axis=1)
        >>> mean_over_neighbours(equal_in_pairs, 2).stderr > mean_over_rows(equal_in_pairs).stderr
        True
    """
    rows = terms.mean(0)
    independent = mean_over_rows(rows[None])
    runs = len(rows) // reach
    if runs < _ENOUGH_RUNS:
        return independent
    means = np.array([part.mean() for part in np.array_split(rows, runs)])
    return Estimate(
        independent.value,
        max(independent.stderr, math.sqrt(float(means.var(ddof=1)) / runs)),
    )
