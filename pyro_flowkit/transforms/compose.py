"""One flow after the other."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import prod
from typing import cast

from torch import Tensor, nn
from torch.distributions.transforms import Transform

from flowkit_core.specs import ComposeSpec
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.conditioned import ConditionedFlow
from pyro_flowkit.transforms.coupling import Coupling, couple, couple_scores, fits
from pyro_flowkit.transforms.modes import plainly_recorded
from pyro_flowkit.transforms.parts import (
    awaits_data,
    check_part,
    forward_part,
    inverse_part,
    observe_part,
    score_part,
    takes_statistics,
)


class Compose(Flow):
    """``x = T_K(... T_1(z))``: the first layer is next to the base.

    Conditional layers share one context; the others ignore it. Other transforms of real vectors
    (of images, in a flow of images) may stand among the layers; then the composition has no spec.
    Their modules are registered, so they train; their own caches, which nothing tells of changed
    weights, are emptied before each use. (A flow with its context fixed owns no weights: register
    the flow itself as well.)

    Shapes: z and x (..., D), or (..., channels, height, width) for flows of images, context
    (..., context_dim), log-determinants (...).

    Args:
        layers: one or more transforms, at least one of them a flow.

    Cost: the sum of the layers'.

    Raises:
        ValueError: if no flow is among the layers, or their dimensions or contexts differ.
        TypeError: if a layer is no transform.

    Example:
        >>> import torch
        >>> from torch.distributions.transforms import AffineTransform
        >>> from flowkit_core.specs import PermutationSpec
        >>> from pyro_flowkit.transforms import Permutation
        >>> flow = Compose([Permutation(PermutationSpec((1, 0))), AffineTransform(1.0, 2.0)])
        >>> flow(torch.tensor([1.0, 2.0])).tolist()
        [5.0, 3.0]
        >>> flow.inv(flow(torch.tensor([1.0, 2.0]))).tolist()
        [1.0, 2.0]
    """

    def __init__(self, layers: Sequence[Transform]) -> None:
        parts = tuple(layers)
        shapes = {part.event_shape for part in parts if isinstance(part, _SIZED)}
        rank = max(map(len, shapes), default=1)
        for i, part in enumerate(parts):
            check_part(f"layers[{i}]", part, rank, last=i == len(parts) - 1)
        if len(shapes) != 1:
            what = "input_dim" if rank == 1 else "event shape"
            sizes = sorted(shape[0] if rank == 1 else shape for shape in shapes)
            raise ValueError(f"layers: expected one or more flows of equal {what}, got {sizes}")
        flows = [part for part in parts if isinstance(part, Flow)]
        contexts = {flow.context_dim for flow in flows} - {0}
        if len(contexts) > 1:
            raise ValueError(f"layers: expected one context_dim, got {sorted(contexts)}")
        _spec_of(parts)  # refuses what no spec can hold
        shape, context_dim = shapes.pop(), max(contexts, default=0)
        super().__init__(prod(shape), context_dim=context_dim, spec=None, event_shape=shape)
        self.layers = nn.ModuleList([part for part in parts if isinstance(part, nn.Module)])
        # Parts that are no modules live here alone, under their place in the order.
        self._bare = {i: part for i, part in enumerate(parts) if not isinstance(part, nn.Module)}
        if isinstance(parts[-1], _SIZED):
            self.codomain = parts[-1].codomain

    @property
    def parts(self) -> list[Transform]:
        """The transforms in the order of application."""
        modules = cast(Iterator[Transform], iter(self.layers))
        count = len(self.layers) + len(self._bare)
        return [self._bare[i] if i in self._bare else next(modules) for i in range(count)]

    @property
    def spec(self) -> ComposeSpec | None:  # type: ignore[override]
        """The architecture as data, read off the layers: an ActNorm's changes when it starts."""
        return _spec_of(self.parts)

    @property
    def takes_statistics(self) -> bool:
        """Whether any layer takes its numbers from data."""
        return any(map(takes_statistics, self.parts))

    @property
    def awaits_data(self) -> bool:
        """Whether any ActNorm waits for its first batch."""
        return any(map(awaits_data, self.parts))

    @property
    def sequential_forward(self) -> bool:
        """Whether any layer goes coordinate by coordinate from base to data."""
        return any(getattr(part, "sequential_forward", False) for part in self.parts)

    @property
    def sequential_inverse(self) -> bool:
        """Whether any layer goes coordinate by coordinate from data to base."""
        return any(getattr(part, "sequential_inverse", False) for part in self.parts)

    @property
    def iterative_inverse(self) -> bool:
        """Whether any layer finds its inverse by Newton's method."""
        return any(getattr(part, "iterative_inverse", False) for part in self.parts)

    def dependencies(self) -> tuple[Tensor, ...]:
        """The weights, and what conditioned flows among the layers depend on."""
        conditioned = (p for p in self._bare.values() if isinstance(p, ConditionedFlow))
        return (*super().dependencies(), *(t for p in conditioned for t in p.dependencies()))

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run(self.parts, z, context, forward=True)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run(self.parts[::-1], x, context, forward=False)

    def _run(
        self, parts: Sequence[Transform], values: Tensor, context: Tensor | None, *, forward: bool
    ) -> tuple[Tensor, Tensor]:
        """Apply parts in turn; neighbouring couplings of matching masks go together."""
        apply = forward_part if forward else inverse_part
        total = values.new_zeros(self._batch(values))
        for group in _groups(parts):
            if len(group) > 1:
                layers = cast(Sequence[Coupling], group)
                values, change = couple(layers, values, context, forward=forward)
            else:
                values, change = apply(group[0], values, context, len(self.event_shape))
            total = total + change
        return values, total

    def _observe(
        self, x: Tensor, context: Tensor | None, *, replace: bool
    ) -> tuple[Flow, Tensor, Tensor]:
        total = x.new_zeros(self._batch(x))
        for observing, run in groupby(self.parts[::-1], key=takes_statistics):
            if not observing:
                x, change = self._run(list(run), x, context, forward=False)
                total = total + change
                continue
            for part in cast(Iterator[Flow | ConditionedFlow], run):
                x, change = observe_part(part, x, context, replace=replace)
                total = total + change
        return self, x, total

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        log_det = z.new_zeros(self._batch(z))
        for group in _groups(self.parts):
            if len(group) > 1 and plainly_recorded():
                couplings = cast(Sequence[Coupling], group)
                z, change, score = couple_scores(couplings, z, score, context)
                log_det = log_det + change
                continue
            for part in group:
                z, change, score = score_part(part, z, score, context, len(self.event_shape))
                log_det = log_det + change
        return z, log_det, score

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        return self._forward_and_score(z, score, context)[2]

    def _own_summary(self) -> str:
        lines = []
        for part in self.parts:
            if isinstance(part, Flow):
                own = part._own_summary() if part.spec is None else str(part.spec)
            else:
                own = type(part).__name__
            lines += own.splitlines()
        return "\n".join(["Compose(", *(f"  {line}" for line in lines), ")"])


# What has an input_dim of its own; other transforms adapt to the vector they are given.
_SIZED = (Flow, ConditionedFlow)


def _spec_of(parts: Sequence[Transform]) -> ComposeSpec | None:
    specs = [part.spec for part in parts if isinstance(part, Flow) and part.spec is not None]
    return ComposeSpec(tuple(specs)) if len(specs) == len(parts) else None


def _groups(parts: Sequence[Transform]) -> Iterator[Sequence[Transform]]:
    """The parts in order; neighbouring couplings of matching masks are one group."""
    position = 0
    while position < len(parts):
        end = position + 1
        while end < len(parts) and fits(parts[position], parts[end]):
            end += 1
        yield parts[position:end]
        position = end
