"""Importance-weighted bounds of flow guides, with gradients along the paths of the draws."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import Delta
from pyro.distributions.util import is_identically_one
from pyro.infer.enum import get_importance_trace
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from pyro.util import check_if_enumerated, warn_if_nan
from torch import Tensor

from pyro_flowkit.differentiable_elbo import DifferentiableELBO
from pyro_flowkit.distributions import FlowDistribution
from pyro_flowkit.wrapped import unwrapped


class ImportanceWeightedELBO(DifferentiableELBO):
    """Loss ``-log (1/K) sum_k w_k`` of K draws, ``w_k = p(x_k, data) / q(x_k)``, for flow guides.

    Its gradient by the guide's parameters is the doubly reparametrised one (DReG),
    ``-sum_k v_k^2 (d log w_k / dx_k) (dx_k / d parameters)`` with ``v_k = w_k / sum_j w_j``, whose
    signal-to-noise ratio does not fall as K grows, as that of `RenyiELBO` does. The gradient by
    the model's parameters is ``-sum_k v_k d log p(x_k, data)``. Both are unbiased. (Path gradients
    weighted by v_k instead of v_k^2, as a `FlowDistribution` with ``path_gradient=True`` would
    give in `RenyiELBO`, are biased for K > 1.) With K = 1 it is the path gradient of the ELBO.

    The guide has one site that is drawn from a `FlowDistribution`, as every `AutoFlow` does;
    whether that has ``path_gradient`` set does not matter. Further sites are point masses (Delta).

    Shapes: the loss is a scalar, in nats. The weights are those of whole draws, all latents
    together.

    Cost: K evaluations of model and guide, no more than K particles of Pyro's own ELBOs.

    Args:
        num_particles: number K of draws.
        vectorize_particles: draw all at once, in a plate to the left of all others; the model has
            to broadcast then.
        max_plate_nesting: of the model, for vectorised particles; guessed if infinite.

    Raises:
        ValueError: when used, if the guide has no site, or several, that a flow draws; if it draws
            another site at random; if there are no path gradients (under ``torch.jit.trace``); or
            if a site is scaled, as subsampled plates do: a weight cannot be estimated from part of
            the data without bias.

    References:
        Tucker, Lawson, Gu, Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo
        Objectives", 2019, equation 8; Burda, Grosse, Salakhutdinov, "Importance Weighted
        Autoencoders", 2016, equation 8 (the bound).

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> from pyro_flowkit import AutoRealNVP
        >>> def model():
        ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
        ...     pyro.sample("y", dist.Normal(x, 1.0), obs=torch.tensor(0.5))
        >>> elbo = ImportanceWeightedELBO(8, vectorize_particles=True)
        >>> svi = pyro.infer.SVI(model, AutoRealNVP(model), pyro.optim.Adam({"lr": 1e-3}), elbo)
        >>> math.isfinite(svi.step())
        True
    """

    def __init__(
        self,
        num_particles: int = 2,
        *,
        vectorize_particles: bool = False,
        max_plate_nesting: float = math.inf,
    ) -> None:
        super().__init__(
            num_particles,
            vectorize_particles=vectorize_particles,
            max_plate_nesting=max_plate_nesting,
        )

    @torch.no_grad()
    def loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """The loss in nats, from fresh draws."""
        log_weights, _ = self._particles(model, guide, args, kwargs)
        loss = self._value(log_weights)
        warn_if_nan(loss, "loss")
        return loss.item()

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """The loss in nats as a tensor with the gradients above."""
        log_weights, draws = self._particles(model, guide, args, kwargs)
        normalized = torch.softmax(log_weights.detach(), 0)
        # Everything below gives a draw's log-weight the gradient v_k. What reaches parameters
        # through the draw gets the other v_k where it passes the draw, on its way back.
        for x, weight in zip(draws, normalized.reshape(len(draws), -1), strict=True):
            if x.requires_grad:
                x.register_hook(_scaling(weight.reshape(-1, *(1,) * (x.dim() - 1))))
        # A draw of no weight may have the log-weight -inf, and -inf times zero is no number.
        terms = normalized * torch.where(normalized > 0, log_weights, 0.0)
        surrogate = -terms.sum()
        warn_if_nan(surrogate, "loss")
        return self._value(log_weights.detach()) + (surrogate - surrogate.detach())

    def _value(self, log_weights: Tensor) -> Tensor:
        return math.log(self.num_particles) - torch.logsumexp(log_weights, 0)

    def _particles(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Tensor, list[Tensor]]:
        """Log-weights (K,), and the draws: one tensor each, or one with all if vectorised."""
        log_weights, draws = [], []
        for model_trace, guide_trace in self._get_traces(model, guide, args, kwargs):
            per_trace = self.num_particles if self.vectorize_particles else 1
            draws.append(_flow_draw(guide_trace))
            log_weights.append(
                _log_density(model_trace, per_trace) - _log_density(guide_trace, per_trace)
            )
        return torch.cat(log_weights), draws

    def _get_trace(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Trace, Trace]:
        traces: tuple[Trace, Trace] = get_importance_trace(
            "flat", self.max_plate_nesting, model, _PathGradients()(guide), args, kwargs
        )
        check_if_enumerated(traces[1])
        return traces


class _PathGradients(Messenger):
    """While it is installed, flows draw their samples with path gradients."""

    def _pyro_sample(self, msg: Any) -> None:
        density = unwrapped(msg["fn"])
        if isinstance(density, FlowDistribution):
            msg["infer"] = {**(msg["infer"] or {}), "_path_gradient": density.path_gradient}
            density.path_gradient = True

    def _pyro_post_sample(self, msg: Any) -> None:
        density = unwrapped(msg["fn"])
        if isinstance(density, FlowDistribution):
            density.path_gradient = msg["infer"]["_path_gradient"]


def _flow_draw(guide_trace: Trace) -> Tensor:
    """The draw of the flow, or an error for a guide whose gradients would not be right."""
    found: list[Any] = []
    for name, site in guide_trace.nodes.items():
        if site["type"] != "sample" or site["is_observed"]:
            continue
        density = unwrapped(site["fn"])
        if isinstance(density, Delta):
            continue
        if not (isinstance(density, FlowDistribution) and _along_path(density, site["value"])):
            raise ValueError(
                f"ImportanceWeightedELBO: site {name!r} of the guide, a {type(density).__name__}, "
                "gives no path gradients; the one random site of the guide has to be drawn by a "
                "FlowDistribution, as AutoFlow's is, outside of torch.jit.trace"
            )
        found.append(site["value"])
    if len(found) != 1:
        raise ValueError(
            "ImportanceWeightedELBO: expected a guide with one site that is drawn by a "
            f"FlowDistribution, got {len(found)}; AutoFlow draws all latents at one"
        )
    draw: Tensor = found[0]
    return draw


def _along_path(density: FlowDistribution, value: Any) -> bool:
    """Whether the log-density of ``value`` has path gradients, if any gradients are wanted."""
    drawn = density._drawn
    return not torch.is_grad_enabled() or (drawn is not None and drawn.x is value)


def _log_density(trace: Trace, num_particles: int) -> Tensor:
    """Log-density of a trace, for each of the particles along the leading dimension."""
    total: Any = 0.0
    for name, site in trace.nodes.items():
        if site["type"] != "sample":
            continue
        if not is_identically_one(site["scale"]):
            raise ValueError(
                f"ImportanceWeightedELBO: site {name!r} is scaled, by a subsampled plate or by "
                "poutine.scale; weights of draws need the density itself, of all the data"
            )
        total = total + site["log_prob"].reshape(num_particles, -1).sum(-1)
    return total


def _scaling(weight: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient * weight
