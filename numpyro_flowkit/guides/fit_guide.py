"""Fit a guide to its model's posterior, from start to verdict of convergence."""

import os
import time
from collections.abc import Callable
from typing import Any

from jax import random

from flowkit_core.fitting import GuideFitResult, GuideFitSettings, GuidePlan, budget, run_guide_fit
from numpyro_flowkit.guides.auto_flow import AutoFlow
from numpyro_flowkit.guides.guide_trainer import GuideTrainer
from numpyro_flowkit.guides.start import started_params
from numpyro_flowkit.guides.warm_start import warm_start as find_start


def fit_guide(
    model: Callable[..., Any],
    guide: Any,
    *args: Any,
    num_steps: int = 10_000,
    num_particles: int = 16,
    learning_rate: float = 3e-3,
    max_grad_norm: float = 10.0,
    gradient: str = "auto",
    warm_start: str | None = "laplace",
    num_starts: int = 4,
    params: dict[str, Any] | None = None,
    chunk_size: int | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> GuideFitResult:
    settings = GuideFitSettings(
        num_steps, num_particles, learning_rate, max_grad_norm, gradient, warm_start, num_starts,
        seed,
    )  # fmt: skip
    seconds = budget(max_seconds)
    began = time.monotonic()
    start_key, guide_key = random.split(random.key(settings.seed))
    has_path_gradient = isinstance(guide, AutoFlow)
    start = None
    if settings.warm_start is not None and has_path_gradient:
        start = find_start(
            guide, *args, rng_key=start_key, method=settings.warm_start, num_starts=num_starts,
            params=params, **kwargs,
        )  # fmt: skip
        params = start.params
    params = started_params(guide, args, kwargs, guide_key, params)
    trainer = GuideTrainer(model, guide, params, args, kwargs, settings, chunk_size)
    state, elbo, stderr = run_guide_fit(
        trainer,
        GuidePlan(settings, has_path_gradient=has_path_gradient),
        progress=progress,
        max_seconds=seconds,
        checkpoint=checkpoint,
    )
    return GuideFitResult(
        params=trainer.params,
        elbo=elbo,
        elbo_stderr=stderr,
        stopped=state.stopped,
        num_steps=state.step,
        skipped_steps=state.skipped_steps,
        falls=state.falls,
        losses=tuple(state.losses),
        windows=tuple(state.windows),
        warm_start=start,
        seconds=time.monotonic() - began,
    )
