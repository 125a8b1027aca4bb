"""Fit a guide to its model's posterior, from start to verdict of convergence."""

import os
import time
from collections.abc import Callable
from typing import Any

from jax import random
from jax.sharding import NamedSharding
from numpyro.infer.autoguide import AutoGuide

from flowkit_core import checks
from flowkit_core.fitting import GuideFitResult, GuideFitSettings, GuidePlan, budget, run_guide_fit
from numpyro_flowkit.guides.auto_flow import AutoFlow
from numpyro_flowkit.guides.guide_trainer import GuideTrainer
from numpyro_flowkit.guides.layers import has_frame
from numpyro_flowkit.guides.model_checks import check_start
from numpyro_flowkit.guides.objectives import ElboObjective, FlowObjective
from numpyro_flowkit.guides.sharding import checked_particles
from numpyro_flowkit.guides.start import started_params
from numpyro_flowkit.guides.warm_start import find_start
from numpyro_flowkit.spread import automatic


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
    particle_sharding: NamedSharding | None = None,
    max_seconds: float | None = None,
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> GuideFitResult:
    """Fit a guide to a model's posterior, from a warm start to convergence.

    Maximises ``ELBO = E_q[log p(data, theta) - log q(theta)]`` with Adam, all particles of a step
    in one vectorised pass. A flow guide first gets a warm start; then come three phases: the total
    gradient at a constant rate (safe far from the posterior), the path gradient at the same rate
    (its noise vanishes as the guide becomes the posterior), and the path gradient while the rate
    falls along a cosine and weights are averaged. A phase of constant rate ends when the ELBO has
    stopped improving: the line through the medians of its last 10 windows foretells, for as many
    windows again, a gain below 0.001 nats or within two of its standard errors. Should the ELBO
    fall by more than a nat and ten standard errors, the fit goes back to the best weights at half
    the rate. Of last, best and averaged weights those with the highest ELBO (4096 draws) are kept.

    SVI by hand keeps working: ``SVI(model, guide, optimizer, Trace_ELBO())``, best run from
    ``init_params=warm_start(guide, *args, rng_key=key).params``.

    Cost: one gradient of the model and of the guide per particle and step.

    Stability: gradients are clipped to a Euclidean norm; a step whose loss or gradient is not
    finite is skipped and counted, so NaN never reaches the weights.

    Args:
        model: the model.
        guide: a flow guide; any other guide of NumPyro works, too, with its own gradient, that of
            `Trace_ELBO`, and without a warm start.
        args: the model's arguments.
        num_steps: at most.
        num_particles: draws of the guide per step.
        learning_rate: of Adam. After a warm start the posterior's scale is one, whatever it was.
        max_grad_norm: gradients are scaled down to this norm.
        gradient: "auto" for the phases above, "path" to leave the first one out, "total" to use
            the total gradient throughout.
        warm_start: "laplace", "pathfinder" or None; see `warm_start`. A guide that has had one
            before is taken as it is, so that a second call goes on from the first.
        num_starts: points that the warm start climbs from.
        params: values of parameters to start from, of guide and model; drawn where left out.
        chunk_size: particles evaluated at once; all of them by default. Fewer bound the memory.
        particle_sharding: how particles are spread over devices, e.g. ``NamedSharding(mesh,
            PartitionSpec("particles"))``, whose pieces have to be equal. The result is that of one
            device to rounding. So it is with arguments that are arrays on several devices (data
            spread by ``jax.device_put``), with this argument or without.
        max_seconds: time budget. The rate begins to fall before it is spent.
        seed: of everything random, the first weights included.
        progress: show a progress bar with the ELBO and its standard error.
        checkpoint: file of the fit's state, written after every window of steps and thus left
            behind by an interrupt. If it exists, the fit goes on from there with the same result as
            without the interruption; delete it to start afresh.
        kwargs: the model's keyword arguments.

    Returns:
        A `GuideFitResult`: ``params`` with the values of all parameters, ELBO with standard error,
        why it stopped, losses; ``result.plot()`` is the picture. Whether to trust the guide is
        another question: ask `diagnose`.

    Raises:
        ModelError: if the model has discrete or no latents, no finite density at the start, or
            other latents than the guide has met; the message names the site and the remedy.
        ValueError: for settings out of range, or a checkpoint of another fit.

    References:
        Agrawal, Domke, "Disentangling impact of capacity, objective, batchsize, estimators, and
        step-size on flow VI", 2025 (path gradients, long runs); Welandawe et al., "A Framework for
        Improving the Reliability of Black-box Variational Inference", 2024 (averaging, stopping).

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from numpyro_flowkit import AutoIAF
        >>> def model():
        ...     x = numpyro.sample("x", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(x, 1.0), obs=2.0)
        >>> guide = AutoIAF(model, num_layers=2, hidden_dims=(8,))
        >>> result = fit_guide(model, guide, num_steps=200, progress=False)
        >>> exact = float(dist.Normal(0.0, 2.0**0.5).log_prob(2.0))
        >>> abs(result.elbo - exact) < 0.02
        True
    """
    settings = GuideFitSettings(
        num_steps, num_particles, learning_rate, max_grad_norm, gradient, warm_start, num_starts,
        seed,
    )  # fmt: skip
    seconds = budget(max_seconds)
    if chunk_size is not None:
        chunk_size = checks.positive_int("chunk_size", chunk_size)
    if isinstance(model, AutoGuide):
        raise TypeError(f"model: expected a model, got the guide {type(model).__name__}")
    checks.guide(guide)
    particles = checked_particles(particle_sharding, settings.num_particles, chunk_size)
    args, kwargs = automatic((args, kwargs))
    began = time.monotonic()
    start_key, guide_key = random.split(random.key(settings.seed))
    _, *start_keys = random.split(start_key, 4)  # the first is for weights that are there already
    has_path_gradient = isinstance(guide, AutoFlow)
    start = None
    params = started_params(model, guide, args, kwargs, guide_key, params)
    if not params:
        raise ValueError("guide: neither it nor the model has parameters, so nothing can be fitted")
    if has_path_gradient:
        check_start(model, guide, args, kwargs)
        known = has_frame(guide.get_transform(params))
    if settings.warm_start is not None and has_path_gradient and not known:
        start = find_start(
            model, guide, params, args, kwargs, start_keys, method=settings.warm_start,
            num_starts=settings.num_starts,
        )  # fmt: skip
        params = start.params
    kind = FlowObjective if has_path_gradient else ElboObjective
    objective = kind(model, guide, params, args, kwargs, particles)
    trainer = GuideTrainer(objective, params, settings, chunk_size, particles)
    state, elbo, stderr = run_guide_fit(
        trainer,
        GuidePlan(settings, has_path_gradient=has_path_gradient),
        progress=progress,
        max_seconds=seconds,
        checkpoint=checkpoint,
    )
    return GuideFitResult.of(
        state,
        (elbo, stderr),
        params=trainer.params,
        warm_start=start,
        seconds=time.monotonic() - began,
    )
