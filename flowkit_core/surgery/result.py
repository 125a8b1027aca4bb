"""What ELBO surgery finds."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowkit_core.surgery.estimate import Bounds, Estimate, Floats

_ROWS = (
    ("reconstruction", "E log p(x | z)"),
    ("avg_kl", "average KL(q(z | x) || p)"),
    ("mutual_information", "mutual information I(n; z)"),
    ("marginal_kl", "marginal KL(q(z) || p)"),
    ("elbo", "ELBO"),
)


@dataclass(frozen=True)
class ElboSurgery:
    """The ELBO of n data points, taken apart; nats per data point.

    ``ELBO = reconstruction - average KL`` and ``average KL = mutual information + marginal KL``,
    where ``q(z) = (1/n) sum_i q(z | x_i)`` is the aggregated posterior and
    ``0 <= mutual information <= log n``. The prior touches the marginal KL alone: it is what the
    best of all priors, q(z) itself, would gain. The same draws serve all terms, so the second
    identity holds to rounding. ``print`` shows a table.

    Args:
        reconstruction: ``(1/n) sum_i E log p(x_i | z)``; None without a likelihood.
        avg_kl: ``(1/n) sum_i KL(q(z | x_i) || p)``.
        mutual_information: between z and the index of the data point; `Bounds` if only part of the
            other data points was seen.
        marginal_kl: ``KL(q(z) || p)``; `Bounds` likewise.
        elbo: None without a likelihood.
        num_data: n.
        num_samples: draws per data point.
        dim: number of latents.
        means: mean of each q(z | x_i) as far as draws tell it, (n, dim).
        draws: one draw of each q(z | x_i), (n, dim): draws of q(z).

    References:
        Hoffman, Johnson, "ELBO surgery: yet another way to carve up the variational evidence lower
        bound", 2016.

    Example:
        >>> import numpy as np
        >>> from flowkit_core.surgery import surgery_of_terms
        >>> own, prior = np.log([[0.5, 0.5]]), np.log([[0.25, 0.25]])
        >>> found = surgery_of_terms(own, prior, aggregate=np.log([[0.25, 0.25]]))
        >>> found.mutual_information.value == found.log_n, found.marginal_kl.value
        (True, 0.0)
    """

    reconstruction: Estimate | None
    avg_kl: Estimate
    mutual_information: Estimate | Bounds
    marginal_kl: Estimate | Bounds
    elbo: Estimate | None
    num_data: int
    num_samples: int
    dim: int = 0
    means: Floats | None = field(default=None, repr=False, compare=False)
    draws: Floats | None = field(default=None, repr=False, compare=False)

    @property
    def log_n(self) -> float:
        """``log n``, the most that the mutual information can be."""
        return math.log(self.num_data)

    @property
    def mutual_information_bits(self) -> float | tuple[float, float]:
        """The mutual information in bits: how much of a data point's index z tells."""
        found = self.mutual_information
        if isinstance(found, Bounds):
            return found.lower.value / math.log(2), found.upper.value / math.log(2)
        return found.value / math.log(2)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the arrays: what fits into JSON."""
        found = {name: getattr(self, name) for name, _ in _ROWS}
        return {
            **{name: None if part is None else part.to_dict() for name, part in found.items()},
            "log_n": self.log_n,
            "num_data": self.num_data,
            "num_samples": self.num_samples,
            "dim": self.dim,
        }

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Picture: the average KL as a bar of its two parts; see `compare_plot` for several.

        Args:
            path: also write the picture there.

        Raises:
            ImportError: without matplotlib.
        """
        from flowkit_core.surgery_plots import surgery_bars  # it needs this class

        return surgery_bars({"": self}, path=path)

    def __str__(self) -> str:
        return compare({"nats per data point": self})


def compare(surgeries: Mapping[str, ElboSurgery]) -> str:
    """A table of several surgeries side by side.

    Args:
        surgeries: title -> `ElboSurgery`.

    Raises:
        ValueError: if there are none.

    Example:
        >>> one = ElboSurgery(
        ...     None, Estimate(3.0, 0.1), Estimate(2.0, 0.1), Estimate(1.0, 0.0), None, 10, 1
        ... )
        >>> print(compare({"standard": one, "flow": one}))
                                           standard            flow
        average KL(q(z | x) || p)    3.000 +- 0.100  3.000 +- 0.100
        mutual information I(n; z)   2.000 +- 0.100  2.000 +- 0.100
        marginal KL(q(z) || p)       1.000 +- 0.000  1.000 +- 0.000
        log n                                 2.303           2.303
    """
    if not surgeries:
        raise ValueError("surgeries: expected at least one, got none")
    found = list(surgeries.values())
    body = [
        (title, [_told(getattr(one, name)) for one in found])
        for name, title in _ROWS
        if any(getattr(one, name) is not None for one in found)
    ]
    body.append(("log n", [f"{one.log_n:.3f}" for one in found]))
    columns = [[title, *(cells[i] for _, cells in body)] for i, title in enumerate(surgeries)]
    widths = [max(map(len, column)) for column in columns]
    first = max(len(title) for title, _ in body) + 1
    lines = []
    for row, title in enumerate(["", *(title for title, _ in body)]):
        cells = [f"  {column[row]:>{width}}" for column, width in zip(columns, widths, strict=True)]
        lines.append(f"{title:{first}}" + "".join(cells))
    return "\n".join(lines)


def _told(part: Estimate | Bounds | None) -> str:
    return "-" if part is None else str(part)
