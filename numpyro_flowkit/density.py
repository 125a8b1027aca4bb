"""Density estimation by maximum likelihood."""

import functools
import os
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from jax import Array, lax
from jax.typing import ArrayLike
from numpy.typing import NDArray

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
from numpyro_flowkit.build import FlowInit
from numpyro_flowkit.distributions import base_log_prob, standard_normal
from numpyro_flowkit.statistics import inverse_with_batch_statistics, start_from_data
from numpyro_flowkit.transforms import Flow


def fit_density(
    flow: Flow | FlowInit,
    data: ArrayLike,
    *,
    context: ArrayLike | None = None,
    base: dist.Distribution | None = None,
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

    Minimises the mean of ``-log p(x) = -log p_base(z) - log |det dz/dx|``. Batches, split and
    learning rates depend on ``seed`` alone and are the same in both wings. One epoch is one
    compiled scan. An ActNorm inside is started from the first minibatch; a BatchNorm uses the
    statistics of each minibatch in the loss and its running averages for held-out rows (see
    `set_batch_statistics` for the time after the fit).

    Args:
        flow: a flow, or a recipe's result, which is then called with ``jax.random.key(seed)``.
            MAF and RealNVP score in one pass.
        data: (n, D), or (n, channels, height, width) for a flow of images, finite; converted to the
            flow's dtype. Standardise it first.
        context: (n, context_dim), one row per row of data, for a conditional flow.
        base: distribution of z; the standard Normal by default.
        validation: fraction of rows held out to choose the best epoch; 0 trains on all.
        batch_size: rows per step; capped at the number of rows.
        num_epochs: passes through the data, at most.
        learning_rate: of Adam, at the start.
        schedule: "cosine" (down to 0 at the last epoch) or "constant".
        max_grad_norm: gradients are scaled down to this Euclidean norm.
        patience: stop after this many epochs without a better held-out loss.
        seed: of the split, of the minibatches, and of the weights if ``flow`` is a recipe's result.
        progress: show a progress bar.
        checkpoint: file of the fit's state, written after every epoch. If it exists, the fit goes
            on from there with the same result as without the interruption; delete it to start
            afresh.

    Returns:
        A `FitResult`: ``result.flow`` is the fitted flow (the one passed is left as it was),
        losses, best epoch, why it stopped; ``result.plot()`` is the picture.

    Raises:
        ValueError: for wrong shapes, rows that are NaN, infinite or not on the flow's data side
            (the message says which), settings out of range, or a checkpoint of another fit.
        TypeError: for data that is not floating.

    Example:
        >>> from numpyro_flowkit import realnvp
        >>> rows = np.random.default_rng(0).normal(3.0, 1.0, size=(64, 2))
        >>> flow = realnvp(2, num_layers=2, hidden_dims=(8,))
        >>> result = fit_density(flow, rows, num_epochs=3, batch_size=16, progress=False)
        >>> len(result.train_losses), result.stopped
        (3, 'epochs')
    """
    settings = FitSettings(
        validation, batch_size, num_epochs, learning_rate, schedule, max_grad_norm, patience, seed
    )
    flow = start_of(flow, settings.seed)
    rows = _rows("data", data, flow, flow.event_shape)
    outside = np.flatnonzero(~np.asarray(flow.codomain(rows)))
    check_supported_rows("data", outside, flow.codomain)
    check_context_given(context is not None, flow.context_dim)
    contexts = None if context is None else _rows("context", context, flow, (flow.context_dim,))
    if contexts is not None:
        check_context_rows(len(contexts), len(rows))
    train, held_out = settings.split(len(rows))
    if flow.awaits_data:
        first = train[settings.batches(len(train), 0)[0]]
        given = None if contexts is None else contexts[first]
        flow = start_from_data(flow, rows[first], given)
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
        flow=trainer.flow,
        train_losses=tuple(state.train_losses),
        validation_losses=tuple(state.validation_losses),
        best_epoch=state.best_epoch,
        stopped=stopped,
        skipped_steps=state.skipped_steps,
    )


def start_of(flow: Flow | FlowInit, seed: int) -> Flow:
    """The single flow that a fit starts from."""
    if not isinstance(flow, Flow | FlowInit):
        raise TypeError(f"flow: expected a Flow or FlowInit, got {type(flow).__name__}")
    # The cast is for mypy, to which an untyped base class makes FlowInit a possible Flow.
    start = flow if isinstance(flow, Flow) else cast(FlowInit, flow)(jax.random.key(seed))
    if start.batch_shape:
        raise ValueError(
            f"flow: expected a single flow, got a batch of shape {start.batch_shape}; "
            "take one with jax.tree.map(lambda leaf: leaf[i], flow)"
        )
    return start


def _rows(name: str, values: ArrayLike, flow: Flow, event_shape: tuple[int, ...]) -> Array:
    """Checked rows in the flow's dtype."""
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name}: expected floating numbers, got {array.dtype}")
    check_data_shape(name, array.shape, event_shape)
    leaves = jax.tree.leaves(flow)
    if not leaves:
        raise ValueError("flow: expected trainable weights, got a flow that has none")
    with np.errstate(over="ignore"):  # what becomes infinite is reported by the check
        array = array.astype(jnp.result_type(*leaves))
    check_finite_rows(name, np.flatnonzero(~np.isfinite(array).all(tuple(range(1, array.ndim)))))
    return jnp.asarray(array)


class _Trainer:
    """Adam on minibatches of one flow (`flowkit_core.fitting.Trainer`)."""

    def __init__(
        self,
        flow: Flow,
        base: dist.Distribution | None,
        rows: Array,
        contexts: Array | None,
        train: NDArray[np.int64],
        held_out: NDArray[np.int64],
        max_grad_norm: float,
    ) -> None:
        self.flow = flow
        base = standard_normal(flow) if base is None else base
        self.train = (rows[train], None if contexts is None else contexts[train])
        self.held_out = (rows[held_out], None if contexts is None else contexts[held_out])
        self.moments = _ADAM.init(flow)
        self._epoch = jax.jit(functools.partial(_epoch, base, max_grad_norm))
        self._held_out_loss = jax.jit(functools.partial(_held_out_loss, base))

    def train_epoch(
        self, batches: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> tuple[float, int]:
        """One Adam step per batch; steps with a loss or gradient that is not finite are skipped."""
        dtype = self.train[0].dtype
        self.flow, self.moments, losses, used = self._epoch(
            self.flow, self.moments, *self.train, batches, jnp.asarray(rates, dtype)
        )
        kept = np.asarray(losses, np.float64)[np.asarray(used)]
        mean = float(kept.mean()) if len(kept) else float("nan")
        return mean, len(batches) - len(kept)

    def held_out_loss(self) -> float:
        """Mean negative log-likelihood of the held-out rows."""
        return float(self._held_out_loss(self.flow, *self.held_out))

    def weights(self) -> Arrays:
        """A copy of the weights."""
        return _to_arrays(self.flow)

    def set_weights(self, arrays: Arrays) -> None:
        """Put weights back."""
        self.flow = _from_arrays(self.flow, arrays)

    def state(self) -> Arrays:
        """Weights and Adam's moments."""
        return _to_arrays((self.flow, self.moments))

    def set_state(self, arrays: Arrays) -> None:
        """Put weights and moments back."""
        self.flow, self.moments = _from_arrays((self.flow, self.moments), arrays)


_ADAM = optax.scale_by_adam()


def _loss(base: dist.Distribution, flow: Flow, z: Array, log_det: Array) -> Array:
    return -jnp.mean(base_log_prob(base, z, len(flow.event_shape)) + log_det)


def _held_out_loss(
    base: dist.Distribution, flow: Flow, rows: Array, contexts: Array | None
) -> Array:
    return _loss(base, flow, *flow.inverse_and_log_det(rows, contexts))


def _training_loss(
    base: dist.Distribution, flow: Flow, rows: Array, contexts: Array | None
) -> tuple[Array, Flow]:
    """The loss, and the flow that has seen the rows."""
    z, log_det, seen = inverse_with_batch_statistics(flow, rows, contexts)
    return _loss(base, flow, z, log_det), seen


def _clip(gradient: Flow, norm: Array, max_norm: float) -> Flow:
    """Scale a gradient down to a norm, by torch's formula: fits in both wings are the same."""
    factor = jnp.minimum(1.0, max_norm / (norm + 1e-6))
    return jax.tree.map(lambda g: factor * g, gradient)


def _epoch(
    base: dist.Distribution,
    max_grad_norm: float,
    flow: Flow,
    moments: Any,
    rows: Array,
    contexts: Array | None,
    batches: Array,
    rates: Array,
) -> tuple[Flow, Any, Array, Array]:
    def step(carry: tuple[Flow, Any], inputs: tuple[Array, Array]) -> Any:
        flow, moments = carry
        batch, rate = inputs
        given = None if contexts is None else contexts[batch]
        training_loss = functools.partial(_training_loss, base)
        (loss, seen), gradient = jax.value_and_grad(training_loss, has_aux=True)(
            flow, rows[batch], given
        )
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradient)))
        usable = jnp.isfinite(loss) & jnp.isfinite(norm)
        updates, new_moments = _ADAM.update(_clip(gradient, norm, max_grad_norm), moments)
        new_flow = jax.tree.map(lambda p, u: p - rate * u, seen, updates)
        kept = jax.tree.map(
            lambda new, old: jnp.where(usable, new, old), (new_flow, new_moments), (seen, moments)
        )
        return kept, (loss, usable)

    (flow, moments), (losses, used) = lax.scan(step, (flow, moments), (batches, rates))
    return flow, moments, losses, used


def _to_arrays(tree: Any) -> Arrays:
    """The leaves under their numbers; a flow of a user's own has no names for them."""
    return {f"{i:05d}": np.array(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def _from_arrays(tree: Any, arrays: Arrays) -> Any:
    """A tree like ``tree`` with other leaves."""
    leaves = [jnp.asarray(arrays[name]) for name in sorted(arrays)]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)
