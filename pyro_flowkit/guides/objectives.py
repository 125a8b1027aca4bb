"""The negative ELBO of a guide, as what `fit_guide` descends."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor

from pyro_flowkit.distributions import draw_and_score
from pyro_flowkit.guides.auto_flow import AutoFlow
from pyro_flowkit.guides.target import Target, plate_nesting


class Objective(Protocol):
    """A loss of particles, and the tensors that it is a function of."""

    parameters: dict[str, Tensor]

    def loss(self, num_particles: int, *, path_gradient: bool) -> Tensor:
        """Negative ELBO, averaged over that many particles in one pass."""

    def elbos(self, num_draws: int, chunk_size: int) -> Tensor:
        """Independent estimates of the ELBO from that many draws in all."""


class FlowObjective:
    """Of a flow guide: the flow is drawn from directly, and the model scored by `Target`.

    That leaves out what Pyro's ELBOs do per step for guides of any kind (registering parameters
    and tracing the guide), which for a small model is most of the time, and the flow's cache.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        guide: AutoFlow,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._guide = guide
        self.target = Target(guide, model, args, kwargs)
        own = {f"guide.{name}": p for name, p in guide.named_parameters()}
        self.parameters = own | {f"model.{k}": p for k, p in self.target.parameters.items()}

    def _draw(self, count: int, *, path_gradient: bool) -> tuple[Tensor, Tensor]:
        """Latents (count, D) and their log-density under the guide."""
        flow, base = self._guide.get_transform(), self._guide.get_base_dist()
        return draw_and_score(flow, base, count, path_gradient=path_gradient)

    def loss(self, num_particles: int, *, path_gradient: bool) -> Tensor:
        """Negative ELBO, averaged over that many particles in one pass."""
        x, log_prob = self._draw(num_particles, path_gradient=path_gradient)
        return (log_prob - self.target.log_density(x)).mean()

    @torch.no_grad()
    def elbos(self, num_draws: int, chunk_size: int) -> Tensor:
        """ELBO terms of single draws."""
        terms = []
        for count in chunks(num_draws, chunk_size):
            x, log_prob = self._draw(count, path_gradient=False)
            terms.append(self.target.log_density(x) - log_prob)
        return torch.cat(terms)


class ElboObjective:
    """Of any guide: Pyro's own `Trace_ELBO`, with particles in one pass where the model allows."""

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._model, self._guide, self._args, self._kwargs = model, guide, args, dict(kwargs)
        with torch.no_grad():
            self._depth = self._plate_nesting()
        self._vectorized = self._vectorizes()
        with poutine.trace(param_only=True) as capture:
            self._evaluate(2).detach()
        sites: Any = capture.trace.nodes.items()
        self.parameters = {name: site["value"].unconstrained() for name, site in sites}

    def _plate_nesting(self) -> int:
        with poutine.block():
            guide_trace = poutine.trace(self._guide).get_trace(*self._args, **self._kwargs)
            replayed = poutine.replay(self._model, trace=guide_trace)
            model_trace = poutine.trace(replayed).get_trace(*self._args, **self._kwargs)
        return plate_nesting(guide_trace, model_trace)

    def _vectorizes(self) -> bool:
        self._vectorized = True
        try:
            with torch.no_grad():
                self._evaluate(2)
        except Exception:  # whatever a model may do with a shape it does not expect
            return False
        return True

    def _evaluate(self, num_particles: int) -> Tensor:
        elbo = Trace_ELBO(
            num_particles=num_particles,
            max_plate_nesting=self._depth,
            vectorize_particles=self._vectorized,
        )
        loss = elbo.differentiable_loss(self._model, self._guide, *self._args, **self._kwargs)
        return torch.as_tensor(loss)

    def loss(self, num_particles: int, *, path_gradient: bool) -> Tensor:
        """Negative ELBO, averaged over that many particles."""
        with pyro.validation_enabled(False):
            return self._evaluate(num_particles)

    @torch.no_grad()
    def elbos(self, num_draws: int, chunk_size: int) -> Tensor:
        """Means of chunks of draws, since Pyro's ELBOs do not tell of single ones."""
        sizes = [size for size in chunks(num_draws, chunk_size) if size == chunk_size]
        with pyro.validation_enabled(False):
            return torch.stack([-self._evaluate(size) for size in sizes])


def chunks(total: int, size: int) -> Iterator[int]:
    """Sizes of the chunks that ``total`` is done in."""
    for start in range(0, total, size):
        yield min(size, total - start)
