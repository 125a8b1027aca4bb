"""What layers of images round an inner flow share."""

from abc import abstractmethod
from math import prod
from typing import Any, ClassVar, Self

from jax import Array
from numpyro.distributions import constraints

from flowkit_core import checks
from flowkit_core.specs import FlowSpec
from numpyro_flowkit.transforms.base import Flow


class Around(Flow):
    """A flow of images that rearranges them and leaves the rest to an inner flow.

    Args:
        inner: the flow inside; its weights are this layer's.
        spec: the architecture as data; None if the inner flow has none.
    """

    leaf_names = ("inner",)
    static_names: ClassVar[tuple[str, ...]] = ("spec",)

    inner: Flow

    def __init__(self, inner: Flow, spec: FlowSpec | None) -> None:
        self.inner = checks.instance("inner", inner, Flow)
        self.spec = spec
        _ = self.event_shape  # raises if the inner flow does not fit

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Numbers in an image."""
        return prod(self.event_shape)

    @property
    def context_dim(self) -> int:  # type: ignore[override]
        """Length of the inner flow's context; 0 for none."""
        return self.inner.context_dim

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

    @abstractmethod
    def _round(self, inner: Flow) -> Self:
        """This layer round another inner flow."""

    @property
    def takes_statistics(self) -> bool:
        """Whether the inner flow takes numbers from data."""
        return self.inner.takes_statistics

    @property
    def awaits_data(self) -> bool:
        """Whether an ActNorm inside waits for its first batch."""
        return self.inner.awaits_data

    @property
    def codomain(self) -> constraints.Constraint:
        """What the inner flow has, number by number."""
        space: Any = self.inner.codomain
        return constraints.independent(space.base_constraint, len(self.event_shape))

    @abstractmethod
    def take_in(self, values: Array) -> tuple[Array, Array | None]:
        """What the inner flow maps, and what passes it by."""

    @abstractmethod
    def put_back(self, inside: Array, outside: Array | None) -> Array:
        """Undo `take_in`."""

    def _context_inside(self, context: Array | None) -> Array | None:
        """The context, with batch dimensions that broadcast against the inner flow's."""
        return context

    def _log_det_outside(self, log_det: Array) -> Array:
        """The log-determinant, with the batch dimensions of the images."""
        return log_det

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        inside, outside = self.take_in(z)
        inside, log_det = self.inner._forward_and_log_det(inside, self._context_inside(context))
        return self.put_back(inside, outside), self._log_det_outside(log_det)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        inside, outside = self.take_in(x)
        inside, log_det = self.inner._inverse_and_log_det(inside, self._context_inside(context))
        return self.put_back(inside, outside), self._log_det_outside(log_det)

    def _observe(
        self, x: Array, context: Array | None, *, replace: bool
    ) -> tuple[Flow, Array, Array]:
        inside, outside = self.take_in(x)
        given = self._context_inside(context)
        inner, inside, log_det = self.inner._observe(inside, given, replace=replace)
        return self._round(inner), self.put_back(inside, outside), self._log_det_outside(log_det)

    def _forward_and_score(
        self, z: Array, score: Array, context: Array | None
    ) -> tuple[Array, Array, Array]:
        inside, outside = self.take_in(z)
        score_inside, score_outside = self.take_in(score)
        given = self._context_inside(context)
        inside, log_det, score_inside = self.inner._forward_and_score(inside, score_inside, given)
        pushed = self.put_back(score_inside, score_outside)
        return self.put_back(inside, outside), self._log_det_outside(log_det), pushed

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        return self._forward_and_score(z, score, context)[2]

    def _own_summary(self) -> str:
        inner = self.inner._own_summary() if self.inner.spec is None else str(self.inner.spec)
        return f"{type(self).__name__}(image_shape={self.event_shape}, {inner})"
