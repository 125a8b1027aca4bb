"""What layers of images round an inner flow share."""

from abc import abstractmethod
from math import prod
from typing import Any

from torch import Tensor
from torch.distributions import constraints

from flowkit_core.specs import FlowSpec
from pyro_flowkit.transforms.base import Flow


class Around(Flow):
    """A flow of images that rearranges them and leaves the rest to an inner flow.

    Args:
        inner: the flow inside; its weights are this layer's.
        event_shape: (C, H, W) of this layer.
    """

    def __init__(self, inner: Flow, event_shape: tuple[int, ...]) -> None:
        super().__init__(
            prod(event_shape), context_dim=inner.context_dim, spec=None, event_shape=event_shape
        )
        self.inner = inner
        space: Any = inner.codomain  # number by number; an interval, if a logit is inside
        self.codomain = constraints.independent(space.base_constraint, len(event_shape))
        _ = self.spec  # refuses what no spec can hold

    @property
    def spec(self) -> FlowSpec | None:  # type: ignore[override]
        """The architecture as data, read off the inner flow; None if that has none."""
        return None if self.inner.spec is None else self._spec_round(self.inner.spec)

    @abstractmethod
    def _spec_round(self, inner: FlowSpec) -> FlowSpec:
        """The spec of this layer round that of the inner flow."""

    @property
    def takes_statistics(self) -> bool:
        """Whether the inner flow takes numbers from data."""
        return self.inner.takes_statistics

    @property
    def awaits_data(self) -> bool:
        """Whether an ActNorm inside waits for its first batch."""
        return self.inner.awaits_data

    @property
    def sequential_forward(self) -> bool:
        """Whether the inner flow goes coordinate by coordinate from base to data."""
        return self.inner.sequential_forward

    @property
    def sequential_inverse(self) -> bool:
        """Whether the inner flow goes coordinate by coordinate from data to base."""
        return self.inner.sequential_inverse

    @property
    def iterative_inverse(self) -> bool:
        """Whether the inner flow finds its inverse by Newton's method."""
        return self.inner.iterative_inverse

    def dependencies(self) -> tuple[Tensor, ...]:
        """Those of the inner flow."""
        return self.inner.dependencies()

    @abstractmethod
    def take_in(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the inner flow maps, and what passes it by."""

    @abstractmethod
    def put_back(self, inside: Tensor, outside: Tensor | None) -> Tensor:
        """Undo `take_in`."""

    def _context_inside(self, values: Tensor, context: Tensor | None) -> Tensor | None:
        """The context, with the batch dimensions that the inner flow sees."""
        return context

    def _log_det_outside(self, log_det: Tensor) -> Tensor:
        """The log-determinant, with the batch dimensions of the images."""
        return log_det

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        inside, outside = self.take_in(z)
        given = self._context_inside(z, context)
        inside, log_det = self.inner._forward_and_log_det(inside, given)
        return self.put_back(inside, outside), self._log_det_outside(log_det)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        inside, outside = self.take_in(x)
        given = self._context_inside(x, context)
        inside, log_det = self.inner._inverse_and_log_det(inside, given)
        return self.put_back(inside, outside), self._log_det_outside(log_det)

    def _observe(
        self, x: Tensor, context: Tensor | None, *, replace: bool
    ) -> tuple[Flow, Tensor, Tensor]:
        inside, outside = self.take_in(x)
        given = self._context_inside(x, context)
        _, inside, log_det = self.inner._observe(inside, given, replace=replace)
        return self, self.put_back(inside, outside), self._log_det_outside(log_det)

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        inside, outside = self.take_in(z)
        score_inside, score_outside = self.take_in(score)
        given = self._context_inside(z, context)
        inside, log_det, score_inside = self.inner._forward_and_score(inside, score_inside, given)
        pushed = self.put_back(score_inside, score_outside)
        return self.put_back(inside, outside), self._log_det_outside(log_det), pushed

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        return self._forward_and_score(z, score, context)[2]

    def _own_summary(self) -> str:
        inner = self.inner._own_summary() if self.inner.spec is None else str(self.inner.spec)
        return f"{type(self).__name__}(image_shape={self.event_shape}, {inner})"
