"""What surgery is told to do, checked once for both wings."""

from dataclasses import dataclass

from flowkit_core import checks
from flowkit_core.surgery.checks import check_method, check_num_others
from flowkit_core.surgery.tiles import check_memory_limit


@dataclass(frozen=True)
class SurgerySettings:
    """Arguments of `elbo_surgery` of either wing.

    Args:
        num_samples: draws for each data point.
        method: "exact" or "bounds".
        num_others: other data points in "bounds".
        memory_limit: bytes for a tile of pairs.
        progress: show a progress bar.

    Raises:
        TypeError: for arguments of another type.
        ValueError: for numbers out of range, another method, or others with "exact".

    Example:
        >>> SurgerySettings(1, "bounds", None, 2**20, False).others_of(100)
        99
    """

    num_samples: int
    method: str
    num_others: int | None
    memory_limit: int
    progress: bool

    def __post_init__(self) -> None:
        checks.positive_int("num_samples", self.num_samples)
        check_method(self.method)
        check_memory_limit(self.memory_limit)
        checks.boolean("progress", self.progress)
        if self.num_others is not None and self.method == "exact":
            raise ValueError(
                'num_others: expected None with method "exact", which takes all data points, got '
                f"{self.num_others}"
            )

    def others_of(self, num_data: int) -> int:
        """How many other data points to take out of those that there are."""
        return check_num_others(self.num_others, num_data)
