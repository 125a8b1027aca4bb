"""Layers that take their scale and location from data."""

from dataclasses import dataclass
from typing import ClassVar

from flowkit_core import checks
from flowkit_core.specs.base import ArraySpec
from flowkit_core.specs.linear import LinearSpec


@dataclass(frozen=True)
class ActNormSpec(LinearSpec, kind="act_norm"):
    """``x = exp(log_scale) * z + shift``, started so that the first batch is standardised.

    Args:
        input_dim: number of coordinates D.
        started: whether log_scale and shift hold numbers to compute with. False: they wait for the
            first batch. True: they have had theirs, or start as the identity and need none.
    """

    started: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "started", checks.boolean("started", self.started))

    def check_started(self) -> None:
        """Raise ValueError unless the layer can compute."""
        if not self.started:
            raise ValueError(
                "ActNorm: used before its first batch; call start_from_data(flow, x), as "
                "fit_density does by itself, or build it with started=True, which starts as the "
                "identity and needs no data"
            )

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Log-scale and shift."""
        return (
            ArraySpec("log_scale", (self.input_dim,)),
            ArraySpec("shift", (self.input_dim,)),
        )

    def summary(self) -> str:
        """One line that names the layer, its size, and whether it has had its first batch."""
        return f"ActNorm(input_dim={self.input_dim}, started={self.started})"


@dataclass(frozen=True)
class BatchNormSpec(LinearSpec, kind="batch_norm"):
    """``x = mean + exp(log_variance / 2) * (exp(log_scale) * z + shift)``.

    Args:
        input_dim: number of coordinates D.
        momentum: share of a new batch in the running averages, above 0 and at most 1.
        eps: added to every variance that is measured.
    """

    MEASURED: ClassVar[tuple[str, ...]] = ("mean", "log_variance")

    momentum: float = 0.1
    eps: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("momentum", "eps"):
            object.__setattr__(self, name, checks.positive_float(name, getattr(self, name)))
        if self.momentum > 1:
            raise ValueError(f"momentum: expected a number in (0, 1], got {self.momentum}")

    def check_rows(self, num_rows: int) -> None:
        """Raise ValueError unless so many rows have a variance."""
        if num_rows < 2:
            raise ValueError(f"BatchNorm: expected a batch of at least two rows, got {num_rows}")

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Log-scale and shift, which are trained; mean and log-variance, which are measured."""
        names = ("log_scale", "shift", *self.MEASURED)
        return tuple(ArraySpec(name, (self.input_dim,)) for name in names)
