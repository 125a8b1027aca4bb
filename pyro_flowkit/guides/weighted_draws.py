"""Draws of a guide with their importance ratios."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.distributions import Delta
from pyro.infer.autoguide.guides import AutoContinuous
from torch import Tensor
from torch.distributions import Distribution, Independent

from flowkit_core import checks, model_problems
from pyro_flowkit.bases.base import draw_seeded
from pyro_flowkit.distributions import FlowDistribution, base_log_prob
from pyro_flowkit.guides.auto_flow import AutoFlow
from pyro_flowkit.guides.devices import cuda_devices
from pyro_flowkit.guides.model_checks import meet
from pyro_flowkit.guides.target import Target


class WeightedDraws(NamedTuple):
    """Draws of a guide: log-ratios ``log p(x, data) - log q(x)`` (n,), and each site's values."""

    log_ratios: NDArray[np.float64]
    values: dict[str, Tensor]


@torch.no_grad()
def weighted_draws(
    guide: AutoContinuous,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    num_samples: int,
    chunk_size: int,
    generator: torch.Generator | None,
) -> WeightedDraws:
    """Draw from a guide, and evaluate the model at at most ``chunk_size`` draws at once.

    Raises:
        TypeError: for a guide that gives no density of all its latents together.
        ValueError: if the model subsamples, or its latents are not those that the guide has met.
    """
    count = checks.positive_int("num_samples", num_samples)
    chunk = checks.positive_int("chunk_size", chunk_size)
    _check_kind(guide)
    meet(guide, args, kwargs)
    loc = guide._init_loc()
    model = guide.bare_model() if isinstance(guide, AutoFlow) else guide.model
    posterior = guide.get_posterior(*args, **kwargs)
    _check_posterior(guide, posterior)
    parts = _latents(posterior, count, chunk, generator)
    log_ratios, values = [], []
    # Of NaN, validation would only say that it is none; the diagnosis says how many there are.
    # Starting values that other guides' models draw and do not use come from a forked generator.
    with torch.random.fork_rng(devices=cuda_devices(loc)), pyro.validation_enabled(False):
        _check_model(guide, model, args, kwargs)
        target = Target(guide, model, args, kwargs)
        for latents, log_q in parts:
            # A model may raise at latents that are no numbers (in a Cholesky factor, say).
            finite = latents.isfinite().all(-1)
            log_p = target.log_density(torch.where(finite[:, None], latents, loc))
            log_p = torch.where(finite, log_p, torch.nan)
            log_ratios.append((log_p.double() - log_q.double()).cpu().numpy())
            # It needs nothing that an AutoContinuous lacks.
            values.append(AutoFlow._constrain(guide, latents))  # type: ignore[arg-type]
    joined = {name: torch.cat([part[name] for part in values]) for name in values[0]}
    return WeightedDraws(np.concatenate(log_ratios), joined)


def _latents(
    posterior: Distribution, count: int, chunk: int, generator: torch.Generator | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Unconstrained draws and their log-densities, in chunks.

    The noise is drawn at once, before the iteration, so that the chunks do not change the draws.
    """
    if isinstance(posterior, FlowDistribution):
        flow, base = posterior.flow, posterior.base_dist
        noise = draw_seeded(base, count, generator)

        def through_flow(z: Tensor) -> tuple[Tensor, Tensor]:
            x, log_det = flow.forward_and_log_det(z)
            return x, base_log_prob(base, z, 1) - log_det

        return map(through_flow, noise.split(chunk))
    latents = draw_seeded(posterior, count, generator)
    log_q = posterior.log_prob(latents)  # of the same tensor: transforms remember it
    return zip(latents.split(chunk), log_q.split(chunk), strict=True)


def _check_kind(guide: Any) -> None:
    if not isinstance(guide, AutoContinuous):
        raise TypeError(
            "guide: expected one with a joint density of all latents (AutoFlow, "
            "AutoDiagonalNormal, AutoMultivariateNormal, ...), got "
            f"{type(guide).__name__}; AutoDiagonalNormal is the family of AutoNormal"
        )


def _check_posterior(guide: AutoContinuous, posterior: Distribution) -> None:
    inner = posterior
    while isinstance(inner, Independent):
        inner = inner.base_dist
    if isinstance(inner, Delta):
        raise TypeError(
            f"guide: expected one with a density, got {type(guide).__name__}, which is a point; "
            "AutoLaplaceApproximation becomes a Normal by guide.laplace_approximation(*args)"
        )


def _check_model(
    guide: AutoContinuous, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raise if the model subsamples, or has other latents than those the guide knows."""
    with poutine.block():
        trace = poutine.trace(model).get_trace(*args, **kwargs)
    for name, site in trace.nodes.items():
        for frame in site.get("cond_indep_stack", ()):
            if frame.full_size is not None and frame.full_size != frame.size:
                raise ValueError(
                    f"site {name!r}: plate {frame.name!r} draws {frame.size} of {frame.full_size} "
                    "rows, and importance weights need the density of all the data; pass arguments "
                    "with which the model does not subsample"
                )
    met: Any = guide.prototype_trace
    known = {n: tuple(s["value"].shape) for n, s in met.iter_stochastic_nodes()}
    given = {n: tuple(s["value"].shape) for n, s in trace.iter_stochastic_nodes()
             if type(s["fn"]).__name__ != "_Subsample"}  # fmt: skip
    model_problems.check_same_shapes(known, given)
