"""Fit a guide to its model's posterior, from start to verdict of convergence."""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from pyro.infer.autoguide.guides import AutoGuide

from flowkit_core import checks
from flowkit_core.fitting import GuideFitResult, GuideFitSettings, GuidePlan, budget, run_guide_fit
from pyro_flowkit.guides.auto_flow import AutoFlow
from pyro_flowkit.guides.guide_trainer import GuideTrainer
from pyro_flowkit.guides.layers import has_frame
from pyro_flowkit.guides.model_checks import check_start, meet
from pyro_flowkit.guides.objectives import ElboObjective, FlowObjective, Objective
from pyro_flowkit.guides.warm_start import find_start
from pyro_flowkit.process_group import Group

if TYPE_CHECKING:  # there are builds of torch without it
    from torch.distributed import ProcessGroup


def fit_guide(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *args: Any,
    num_steps: int = 10_000,
    num_particles: int = 16,
    learning_rate: float = 3e-3,
    max_grad_norm: float = 10.0,
    gradient: str = "auto",
    warm_start: str | None = "laplace",
    num_starts: int = 4,
    chunk_size: int | None = None,
    process_group: "ProcessGroup | None" = None,
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

    SVI by hand keeps working: ``SVI(model, guide, optimizer, Trace_ELBO())``, best after
    ``warm_start(guide, *args)``.

    Cost: one gradient of the model and of the guide per particle and step.

    Stability: gradients are clipped to a Euclidean norm; a step whose loss or gradient is not
    finite is skipped and counted, so NaN never reaches the weights.

    Args:
        model: the model.
        guide: a flow guide; any other guide of Pyro works, too, with its own gradient, that of
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
        chunk_size: particles evaluated at once; all of them by default. Fewer bound the memory.
        process_group: of ``torch.distributed``, whose processes all call this function with the
            same settings. They share the particles, of which ``num_particles`` is the total, and
            average gradients and losses, so that all take the same steps and end with the same
            weights. Each may be given its own rows of the data, as many as the others, in a plate
            that scales them up to all (``pyro.plate("data", total, subsample=rows)``). Start
            values, the warm start, clock, checkpoint and progress bar are those of the first
            process.
        max_seconds: time budget. The rate begins to fall before it is spent.
        seed: of everything random.
        progress: show a progress bar with the ELBO and its standard error.
        checkpoint: file of the fit's state, written after every window of steps and thus left
            behind by an interrupt. If it exists, the fit goes on from there with the same result as
            without the interruption; delete it to start afresh.
        kwargs: the model's keyword arguments.

    Returns:
        A `GuideFitResult`: ELBO with standard error, why it
        stopped, losses; ``result.plot()`` is the picture. Whether to trust the guide is another
        question: ask `diagnose`.

    Raises:
        ModelError: if the model has discrete or no latents, no finite density at the start, or
            other latents than the guide has met; the message names the site and the remedy.
        ValueError: for settings out of range, or a checkpoint of another fit.

    References:
        Agrawal, Domke, "Disentangling impact of capacity, objective, batchsize, estimators, and
        step-size on flow VI", 2025 (path gradients, long runs); Welandawe et al., "A Framework for
        Improving the Reliability of Black-box Variational Inference", 2024 (averaging, stopping).

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from pyro_flowkit import AutoIAF
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(2.0))
        >>> guide = AutoIAF(model, num_layers=2, hidden_dims=(8,))
        >>> result = fit_guide(model, guide, num_steps=200, progress=False)
        >>> exact = dist.Normal(0.0, 2.0**0.5).log_prob(torch.tensor(2.0)).item()
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
    group = Group(process_group)
    group.share(settings.num_particles)
    group.check_same(
        "settings",
        {**settings.to_dict(), "max_seconds": seconds, "checkpoint": checkpoint is not None},
    )
    began = time.monotonic()
    start = None
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        if isinstance(guide, AutoFlow):
            meet(guide, args, kwargs)
            check_start(model, guide, args, kwargs)
            of_flow = FlowObjective(model, guide, args, kwargs)
            is_framed = has_frame(guide.get_transform())
            group.check_same("whether the guide has had a warm start", is_framed)
            if settings.warm_start is not None and not is_framed:
                start = group.first(
                    lambda: find_start(
                        guide, of_flow.target, seed=settings.seed,
                        method=str(settings.warm_start), num_starts=settings.num_starts,
                    )
                )  # fmt: skip
            objective: Objective = of_flow
        else:
            objective = ElboObjective(model, guide, args, kwargs)
    if not objective.parameters:
        raise ValueError("guide: neither it nor the model has parameters, so nothing can be fitted")
    shapes = {name: tuple(p.shape) for name, p in objective.parameters.items()}
    group.check_same("shapes of the parameters", shapes)
    group.start_alike(objective.parameters.values())
    state, elbo, stderr = run_guide_fit(
        GuideTrainer(objective, settings, chunk_size, group),
        GuidePlan(settings, has_path_gradient=isinstance(guide, AutoFlow)),
        progress=progress,
        max_seconds=seconds,
        checkpoint=checkpoint,
        processes=group,
    )
    return GuideFitResult.of(
        state, (elbo, stderr), params=None, warm_start=start, seconds=time.monotonic() - began
    )
