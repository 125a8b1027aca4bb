"""Settings of a maximum-likelihood fit and what follows from them, equal in both wings."""

import math
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowkit_core import checks

SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class FitSettings:
    """Validated settings of `fit_density`; rows and orders are drawn from ``seed`` alone.

    The same settings visit the same rows in the same order at the same rates in both wings.
    """

    validation: float
    batch_size: int
    num_epochs: int
    learning_rate: float
    schedule: str
    max_grad_norm: float
    patience: int
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.validation, bool) or not isinstance(self.validation, Real):
            raise TypeError(f"validation: expected a fraction, got {self.validation!r}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation: expected a fraction in [0, 1), got {self.validation}")
        checked = {  # as plain numbers, since they are written to files
            "validation": float(self.validation),
            "batch_size": checks.positive_int("batch_size", self.batch_size),
            "num_epochs": checks.positive_int("num_epochs", self.num_epochs),
            "learning_rate": checks.positive_float("learning_rate", self.learning_rate),
            "schedule": checks.choice("schedule", self.schedule, SCHEDULES),
            "max_grad_norm": checks.positive_float("max_grad_norm", self.max_grad_norm),
            "patience": checks.positive_int("patience", self.patience),
            "seed": checks.int_at_least("seed", self.seed, 0),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)

    def split(self, num_rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers for training and for validation, a random split drawn from the seed.

        Raises:
            ValueError: if nothing is left to train on, or a positive fraction gives no row.
        """
        held_out = round(self.validation * num_rows)
        if held_out >= num_rows or (self.validation > 0 and held_out == 0):
            raise ValueError(
                f"validation: {self.validation} of {num_rows} rows holds out {held_out}; expected "
                "at least one row on each side (validation=0 trains on all)"
            )
        order = np.random.default_rng((self.seed, 0)).permutation(num_rows)
        return order[held_out:], order[:held_out]

    def steps_per_epoch(self, num_rows: int) -> int:
        """Full minibatches in one epoch; the last, partial one is left out."""
        return max(1, num_rows // self.batch_size)

    def batches(self, num_rows: int, epoch: int) -> NDArray[np.int64]:
        """Row numbers of the minibatches of one epoch, (steps, batch)."""
        steps = self.steps_per_epoch(num_rows)
        size = min(self.batch_size, num_rows)
        order = np.random.default_rng((self.seed, 1 + epoch)).permutation(num_rows)
        return order[: steps * size].reshape(steps, size)

    def rates(self, num_rows: int, epoch: int) -> NDArray[np.float64]:
        """Learning rate of every step of one epoch, (steps,)."""
        steps = self.steps_per_epoch(num_rows)
        if self.schedule == "constant":
            return np.full(steps, self.learning_rate)
        progress = (epoch * steps + np.arange(steps)) / (self.num_epochs * steps)
        return self.learning_rate * 0.5 * (1 + np.cos(math.pi * progress))


def check_finite_rows(name: str, bad_rows: NDArray[np.int64]) -> None:
    """Raise if any rows were found to hold NaN or infinity, and say which.

    Raises:
        ValueError: if ``bad_rows`` is not empty.
    """
    if len(bad_rows):
        raise ValueError(f"{name}: expected finite numbers, got NaN or inf in {_shown(bad_rows)}")


def check_supported_rows(name: str, bad_rows: NDArray[np.int64], support: object) -> None:
    """Raise if any rows were found to lie where a flow has no density, and say which.

    Args:
        name: of the argument.
        bad_rows: numbers of those rows.
        support: of the flow, to be shown.

    Raises:
        ValueError: if ``bad_rows`` is not empty.
    """
    if len(bad_rows):
        raise ValueError(
            f"{name}: expected rows on the flow's data side, {support}, got others in "
            f"{_shown(bad_rows)}; scale the data first"
        )


def _shown(rows: NDArray[np.int64]) -> str:
    shown = ", ".join(map(str, rows[:10]))
    more = f", ... ({len(rows)} in all)" if len(rows) > 10 else ""
    return f"rows {shown}{more}"


def check_data_shape(name: str, shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
    """Raise unless ``shape`` is (at least two rows, *event_shape).

    Raises:
        ValueError: otherwise.
    """
    if shape[1:] != event_shape:
        expected = ", ".join(map(str, event_shape))
        hint = "; images are (n, channels, height, width)" if len(event_shape) == 3 else ""
        raise ValueError(f"{name}: expected shape (n, {expected}), got {shape}{hint}")
    if shape[0] < 2:
        raise ValueError(f"{name}: expected at least two rows to fit a density, got {shape[0]}")


def check_context_given(given: bool, context_dim: int) -> None:
    """Raise unless a context is given exactly if the flow takes one.

    Raises:
        ValueError: otherwise.
    """
    if given != (context_dim > 0):
        expected = f"shape (n, {context_dim})" if context_dim else "none"
        raise ValueError(f"context: expected {expected}, got {'one' if given else 'none'}")


def check_context_rows(num_contexts: int, num_rows: int) -> None:
    """Raise unless there is one row of context per row of data.

    Raises:
        ValueError: otherwise.
    """
    if num_contexts != num_rows:
        raise ValueError(
            f"context: expected {num_rows} rows, one per row of data, got {num_contexts}"
        )
