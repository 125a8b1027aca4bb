"""Density estimation by maximum likelihood."""

import os

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Distribution

from flowkit_core.fitting import (
    Arrays,
    FitResult,
    FitSettings,
    check_context_given,
    check_context_rows,
    check_data_shape,
    check_finite_rows,
    check_supported_rows,
    run_fit,
)
from pyro_flowkit.distributions import base_log_prob, standard_normal
from pyro_flowkit.statistics import inverse_with_batch_statistics, start_from_data
from pyro_flowkit.transforms import Flow


def fit_density(
    flow: Flow,
    data: ArrayLike | Tensor,
    *,
    context: ArrayLike | Tensor | None = None,
    base: Distribution | None = None,
    validation: float = 0.1,
    batch_size: int = 256,
    num_epochs: int = 200,
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    max_grad_norm: float = 5.0,
    patience: int = 30,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
) -> FitResult:
    """Fit a flow to data by maximum likelihood, with Adam and early stopping.

    Minimises the mean of ``-log p(x) = -log p_base(z) - log |det dz/dx|``. The flow is trained in
    place and left with the weights of the best epoch. Batches, split and learning rates depend on
    ``seed`` alone and are the same in both wings. An ActNorm inside is started from the first
    minibatch; a BatchNorm uses the statistics of each minibatch in the loss and its running
    averages for held-out rows (see `set_batch_statistics` for the time after the fit).

    Args:
        flow: the flow; MAF and RealNVP score in one pass.
        data: (n, D), or (n, channels, height, width) for a flow of images, finite; converted to the
            flow's dtype and device. Standardise it first.
        context: (n, context_dim), one row per row of data, for a conditional flow.
        base: distribution of z; the standard Normal by default.
        validation: fraction of rows held out to choose the best epoch; 0 trains on all.
        batch_size: rows per step; capped at the number of rows.
        num_epochs: passes through the data, at most.
        learning_rate: of Adam, at the start.
        schedule: "cosine" (down to 0 at the last epoch) or "constant".
        max_grad_norm: gradients are scaled down to this Euclidean norm.
        patience: stop after this many epochs without a better held-out loss.
        seed: of the split and of the minibatches.
        progress: show a progress bar.
        checkpoint: file of the fit's state, written after every epoch. If it exists, the fit goes
            on from there with the same result as without the interruption; delete it to start
            afresh.

    Returns:
        A `FitResult`: losses, best epoch, why it stopped; ``result.plot()`` is the picture.

    Raises:
        ValueError: for wrong shapes, rows that are NaN, infinite or not on the flow's data side
            (the message says which), settings out of range, or a checkpoint of another fit.
        TypeError: for data that is not floating.

    Example:
        >>> from pyro_flowkit import realnvp
        >>> rows = np.random.default_rng(0).normal(3.0, 1.0, size=(64, 2))
        >>> flow = realnvp(2, num_layers=2, hidden_dims=(8,))
        >>> result = fit_density(flow, rows, num_epochs=3, batch_size=16, progress=False)
        >>> len(result.train_losses), result.stopped
        (3, 'epochs')
    """
    if not isinstance(flow, Flow):
        raise TypeError(f"flow: expected a Flow of pyro_flowkit, got {type(flow).__name__}")
    settings = FitSettings(
        validation, batch_size, num_epochs, learning_rate, schedule, max_grad_norm, patience, seed
    )
    rows = _rows("data", data, flow, flow.event_shape)
    outside = (~flow.codomain.check(rows)).nonzero()[:, 0].cpu().numpy()
    check_supported_rows("data", outside, flow.codomain)
    check_context_given(context is not None, flow.context_dim)
    contexts = None if context is None else _rows("context", context, flow, (flow.context_dim,))
    if contexts is not None:
        check_context_rows(len(contexts), len(rows))
    train, held_out = settings.split(len(rows))
    if flow.awaits_data:
        first = train[settings.batches(len(train), 0)[0]]
        start_from_data(flow, rows[first], None if contexts is None else contexts[first])
    trainer = _Trainer(flow, base, rows, contexts, train, held_out, settings.max_grad_norm)
    state, stopped = run_fit(
        trainer,
        settings,
        architecture=flow.spec,
        num_train=len(train),
        num_held_out=len(held_out),
        progress=progress,
        checkpoint=checkpoint,
    )
    return FitResult(
        flow=flow,
        train_losses=tuple(state.train_losses),
        validation_losses=tuple(state.validation_losses),
        best_epoch=state.best_epoch,
        stopped=stopped,
        skipped_steps=state.skipped_steps,
    )


def _rows(
    name: str, values: ArrayLike | Tensor, flow: Flow, event_shape: tuple[int, ...]
) -> Tensor:
    """Checked rows in the flow's dtype and on its device."""
    tensor = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    if not tensor.is_floating_point():
        raise TypeError(f"{name}: expected floating numbers, got {tensor.dtype}")
    check_data_shape(name, tuple(tensor.shape), event_shape)
    weight = next(flow.parameters(), None)
    if weight is None:
        raise ValueError("flow: expected trainable weights, got a flow that has none")
    # Checked after the conversion, in which large numbers may become infinite.
    tensor = tensor.to(dtype=weight.dtype, device=weight.device)
    bad = (~torch.isfinite(tensor).flatten(1).all(-1)).nonzero()[:, 0]
    check_finite_rows(name, bad.cpu().numpy())
    return tensor


class _Trainer:
    """Adam on minibatches of one flow (`flowkit_core.fitting.Trainer`)."""

    def __init__(
        self,
        flow: Flow,
        base: Distribution | None,
        rows: Tensor,
        contexts: Tensor | None,
        train: NDArray[np.int64],
        held_out: NDArray[np.int64],
        max_grad_norm: float,
    ) -> None:
        self.flow = flow
        self.base = standard_normal(flow) if base is None else base
        self.train = self._take(rows, contexts, train)
        self.held_out = self._take(rows, contexts, held_out)
        self.max_grad_norm = max_grad_norm
        self.parameters = dict(flow.named_parameters())
        self.optimizer = torch.optim.Adam(self.parameters.values())

    @staticmethod
    def _take(
        rows: Tensor, contexts: Tensor | None, indices: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor | None]:
        at = torch.from_numpy(indices).to(rows.device)
        return rows[at], None if contexts is None else contexts[at]

    def _loss(self, z: Tensor, log_det: Tensor) -> Tensor:
        rank = len(self.flow.event_shape)
        return -(base_log_prob(self.base, z, rank) + log_det).mean()

    def train_epoch(
        self, batches: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> tuple[float, int]:
        """One Adam step per batch; steps with a loss or gradient that is not finite are skipped."""
        losses: list[float] = []
        for batch, rate in zip(batches, rates, strict=True):
            self.optimizer.zero_grad(set_to_none=True)
            rows, contexts = self._take(*self.train, batch)
            z, log_det, _ = inverse_with_batch_statistics(self.flow, rows, contexts)
            loss = self._loss(z, log_det)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.max_grad_norm)
            value = loss.item()
            if not (np.isfinite(value) and np.isfinite(norm.item())):
                continue
            losses.append(value)
            self.optimizer.param_groups[0]["lr"] = float(rate)
            self.optimizer.step()
        mean = float(np.mean(losses)) if losses else float("nan")
        return mean, len(batches) - len(losses)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean negative log-likelihood of the held-out rows."""
        return self._loss(*self.flow.inverse_and_log_det(*self.held_out)).item()

    def weights(self) -> Arrays:
        """A copy of the weights."""
        return {k: p.detach().cpu().numpy().copy() for k, p in self.parameters.items()}

    @torch.no_grad()
    def set_weights(self, arrays: Arrays) -> None:
        """Put weights back."""
        for name, parameter in self.parameters.items():
            parameter.copy_(torch.from_numpy(arrays[name]))

    def state(self) -> Arrays:
        """Weights and Adam's moments."""
        arrays = {f"weight/{k}": v for k, v in self.weights().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                arrays[f"{key}/{name}"] = value.detach().cpu().numpy().copy()
        return arrays

    def set_state(self, arrays: Arrays) -> None:
        """Put weights and moments back."""
        self.set_weights(
            {k.removeprefix("weight/"): v for k, v in arrays.items() if k.startswith("weight/")}
        )
        for name, parameter in self.parameters.items():
            moments = {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if f"{key}/{name}" in arrays:
                    moments[key] = torch.from_numpy(arrays[f"{key}/{name}"])
            if moments:
                self.optimizer.state[parameter] = moments
        # load_state_dict moves the moments to the parameters' device and dtype.
        self.optimizer.load_state_dict(self.optimizer.state_dict())
