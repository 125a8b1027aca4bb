"""What the fit of a guide returns."""

import os
from dataclasses import dataclass, field
from typing import Any, Self

from flowkit_core import plots
from flowkit_core.fitting.guide_state import GuideFitState, WindowRecord
from flowkit_core.warm_start import WarmStart


@dataclass(frozen=True)
class GuideFitResult:
    """Outcome of `fit_guide`.

    Args:
        params: NumPyro: values of all parameters, of guide and model; Pyro: None, since guide and
            model hold them themselves.
        elbo: of the parameters that were kept, in nats, from draws of its own.
        elbo_stderr: its standard error.
        stopped: "converged", "steps", "time", "interrupted" or "diverged": why it ended.
        num_steps: steps taken.
        skipped_steps: steps left out because loss or gradient was not finite.
        falls: how often the fit went back to the best weights because the ELBO had fallen.
        losses: negative ELBO of every step, in nats.
        windows: medians of consecutive steps, with standard errors and phases.
        warm_start: what the warm start found; None without one.
        seconds: time it took.
    """

    params: Any = field(repr=False)
    elbo: float
    elbo_stderr: float
    stopped: str
    num_steps: int
    skipped_steps: int
    falls: int
    losses: tuple[float, ...] = field(repr=False)
    windows: tuple[WindowRecord, ...] = field(repr=False)
    warm_start: WarmStart | None
    seconds: float

    @classmethod
    def of(
        cls,
        state: GuideFitState,
        elbo: tuple[float, float],
        *,
        params: Any,
        warm_start: WarmStart | None,
        seconds: float,
    ) -> Self:
        """The outcome that a fit's final state tells of; ``elbo`` with its standard error."""
        return cls(
            params=params,
            elbo=elbo[0],
            elbo_stderr=elbo[1],
            stopped=state.stopped,
            num_steps=state.step,
            skipped_steps=state.skipped_steps,
            falls=state.falls,
            losses=tuple(state.losses),
            windows=tuple(state.windows),
            warm_start=warm_start,
            seconds=seconds,
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Picture of the ELBO over the steps; a matplotlib figure, also written to ``path``.

        Raises:
            ImportError: without matplotlib (extra "plot").
        """
        return plots.elbo_curve(self.windows, elbo=self.elbo, stopped=self.stopped, path=path)
