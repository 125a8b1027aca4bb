"""What a fit returns."""

import os
from dataclasses import dataclass, field
from typing import Any

from flowkit_core import plots


@dataclass(frozen=True)
class FitResult:
    """Outcome of a maximum-likelihood fit.

    Args:
        flow: the flow with the best weights (Pyro: the very object that was passed).
        train_losses: mean negative log-likelihood of each epoch's minibatches, in nats per row.
        validation_losses: that of the held-out rows after each epoch; empty if none were held out.
        best_epoch: epoch (from 0) whose weights were kept.
        stopped: "patience", "epochs" or "diverged": why it ended.
        skipped_steps: steps left out because loss or gradient was not finite.
    """

    flow: Any = field(repr=False)
    train_losses: tuple[float, ...] = field(repr=False)
    validation_losses: tuple[float, ...] = field(repr=False)
    best_epoch: int
    stopped: str
    skipped_steps: int

    @property
    def best_loss(self) -> float:
        """Loss of the weights that were kept: on the held-out rows if there are any."""
        losses = self.validation_losses or self.train_losses
        return losses[self.best_epoch]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Picture of the losses; a matplotlib figure, also written to ``path`` if given.

        Raises:
            ImportError: without matplotlib (extra "plot").
        """
        return plots.loss_curves(
            self.train_losses, self.validation_losses, best_epoch=self.best_epoch, path=path
        )
