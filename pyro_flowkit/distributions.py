"""The distribution of a flow's data side."""

from typing import Any, NamedTuple

import torch
from pyro.distributions import Normal, TransformedDistribution
from torch import Tensor
from torch.distributions import Distribution, Independent

from flowkit_core import checks
from pyro_flowkit.transforms import ConditionedFlow, Flow
from pyro_flowkit.transforms.checks import tracing


class FlowDistribution(TransformedDistribution):
    """Distribution of ``x = flow(z)`` for z from a base: ``log p(x) = log p(z) - log |det dx/dz|``.

    A `pyro.distributions.TransformedDistribution`, so it works wherever one does.

    With ``path_gradient=True`` the log-density of a sample x of this object has the gradient
    ``(d log q / dx) (dx / d weights)``. In an ELBO that is unbiased, since the part left out has
    mean zero, and its variance vanishes where q is the posterior; far from there it can be the
    larger one. In bounds of several weighted particles (`RenyiELBO`) leaving it out is a bias.

    Shapes: event that of the flow, (D,) or (channels, height, width); batch that of the base,
    broadcast with the context's.

    Cost: sampling and scoring cost one evaluation of the flow each; scoring a sample that this
    object has just drawn costs none. Path gradients push a score through the flow beside the
    sample (see `Flow.forward_and_score`).

    Args:
        flow: a flow, or a flow with its context fixed.
        base: distribution of z with the flow's event shape; the standard Normal by default, in the
            flow's dtype and on its device.
        context: (..., context_dim) for a conditional flow.
        path_gradient: give the log-density of this object's own draws the path gradient (sticking
            the landing): its derivative by the flow's weights is left out, so that only the way
            through the sample counts. The values stay what they are. Under ``torch.jit.trace``
            (`JitTrace_ELBO`) the gradient is the total one.
        validate_args: as for every Pyro distribution.

    Raises:
        TypeError: if ``flow`` is no flow.
        ValueError: if base or context do not fit the flow.

    References:
        Roeder, Wu, Duvenaud, "Sticking the Landing", 2017, equation 8.

    Example:
        >>> from pyro_flowkit import maf
        >>> density = FlowDistribution(maf(3, num_layers=2, hidden_dims=(16,)))
        >>> density.log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    flow: Flow | ConditionedFlow

    def __init__(
        self,
        flow: Flow | ConditionedFlow,
        base: Distribution | None = None,
        *,
        context: Tensor | None = None,
        path_gradient: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        self.path_gradient = checks.boolean("path_gradient", path_gradient)
        self._drawn: _Drawn | None = None
        if not isinstance(flow, Flow | ConditionedFlow):
            raise TypeError(f"flow: expected a Flow of pyro_flowkit, got {type(flow).__name__}")
        self.flow = flow
        if isinstance(flow, Flow):
            flow.check_context(context)
            self.flow = flow if context is None else flow.condition(context)
        elif context is not None:
            raise ValueError("context: this flow's context is fixed already, got another one")
        if base is None:
            base = standard_normal(flow)
        super().__init__(base, [self.flow], validate_args=validate_args)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draws of shape ``sample_shape + batch + event``, differentiable by the weights."""
        # Under torch.jit.trace scores would be recorded as constants: the total gradient there.
        if not self.path_gradient or not torch.is_grad_enabled() or tracing():
            x: Tensor = super().rsample(torch.Size(sample_shape))
            return x
        self._drawn = _Drawn.of(self.flow, self.base_dist, torch.Size(sample_shape))
        return self._drawn.x

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, of shape batch."""
        if self._drawn is not None and value is self._drawn.x and torch.is_grad_enabled():
            return self._drawn.log_prob_along_path()
        # Torch cannot validate an empty batch; the flow checks its last dimensions in any case.
        if self._validate_args and (tracing() or value.numel()):
            self._validate_sample(value)
        z, log_det = self.flow.cached_inverse_and_log_det(value)
        return base_log_prob(self.base_dist, z, len(self.flow.event_shape)) + log_det

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FlowDistribution":
        """The same distribution with another batch shape."""
        new: FlowDistribution = self._get_checked_instance(FlowDistribution, _instance)
        new.flow = self.flow
        new.path_gradient = self.path_gradient
        new._drawn = None
        expanded: FlowDistribution = super().expand(batch_shape, _instance=new)
        return expanded


class _Drawn(NamedTuple):
    """A draw, its log-density, and its score ``d log q(x) / dx``."""

    x: Tensor
    log_prob: Tensor
    score: Tensor

    @classmethod
    def of(
        cls, flow: Flow | ConditionedFlow, base: Distribution, sample_shape: torch.Size
    ) -> "_Drawn":
        """Draw from a base and a flow."""
        z = base.rsample(sample_shape)
        x, log_det, score = flow.forward_and_score(z, base_score(base, z))
        with torch.no_grad():
            log_prob = base_log_prob(base, z, len(flow.event_shape)) - log_det
        return cls(x, log_prob, score)

    def log_prob_along_path(self) -> Tensor:
        """The log-density, as a function of x alone as far as gradients go."""
        # The bracket is zero; its gradient is that of the sample.
        along = self.score * (self.x - self.x.detach())
        return self.log_prob + along.sum(tuple(range(self.log_prob.dim() - along.dim(), 0)))


def draw_and_score(
    flow: Flow | ConditionedFlow, base: Distribution, count: int, *, path_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Draws (count, D) and their log-densities: what a `FlowDistribution` gives, without its cache.

    To see that a cached pair is still good costs a walk through all weights, which for a small
    flow is a good part of a step.
    """
    if path_gradient:
        drawn = _Drawn.of(flow, base, torch.Size((count,)))
        return drawn.x, drawn.log_prob_along_path()
    z = base.rsample(torch.Size((count,)))
    x, log_det = flow.forward_and_log_det(z)
    return x, base_log_prob(base, z, len(flow.event_shape)) - log_det


def base_score(base: Distribution, z: Tensor) -> Tensor:
    """``d log p(z) / dz`` of a base at its own draws; nothing differentiates through it."""
    inner = base.base_dist if isinstance(base, Independent) else base
    if type(inner) is Normal:  # known without a graph
        return ((inner.loc - z) / inner.scale.square()).detach()
    with torch.enable_grad():
        at = z.detach().requires_grad_()
        (score,) = torch.autograd.grad(base_log_prob(base, at, at.dim()).sum(), at)
    return score.detach()


def base_log_prob(base: Distribution, z: Tensor, rank: int) -> Tensor:
    """Log-density of z under ``base``, which may have single numbers as events.

    Events of z have ``rank`` axes: 1 for vectors (..., D), 3 for images. Also for an empty batch,
    where torch's `Independent` fails.
    """
    if isinstance(base, Independent) and base.reinterpreted_batch_ndims:
        inner: Tensor = base.base_dist.log_prob(z)
        return inner.sum(tuple(range(-base.reinterpreted_batch_ndims, 0)))
    log_prob: Tensor = base.log_prob(z)
    return log_prob if base.event_shape else log_prob.sum(tuple(range(-rank, 0)))


def standard_normal(flow: Flow | ConditionedFlow) -> Distribution:
    """N(0, I) of the flow's event shape, in its dtype and on its device."""
    # The first weight will do; a flow's dependencies would be a walk through all of them.
    weight: Tensor | None = next(flow.parameters(), None) if isinstance(flow, Flow) else None
    if weight is None:
        weight = next(iter(flow.dependencies()), None)
    # Made afresh rather than from the weight: a tensor derived from it would be a constant that
    # requires grad under torch.jit.trace (JitTrace_ELBO).
    dtype, device = (None, None) if weight is None else (weight.dtype, weight.device)
    zeros = torch.zeros(flow.event_shape, dtype=dtype, device=device)
    normal = Normal(zeros, torch.ones_like(zeros), validate_args=False)
    return normal.to_event(len(flow.event_shape))
