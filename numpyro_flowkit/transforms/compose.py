"""One flow after the other."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import prod
from typing import cast

import jax.numpy as jnp
from jax import Array
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from flowkit_core.specs import ComposeSpec
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.conditioned import ConditionedFlow
from numpyro_flowkit.transforms.halves import CouplingRun, join_couplings
from numpyro_flowkit.transforms.native import real_space
from numpyro_flowkit.transforms.parts import (
    awaits_data,
    check_part,
    forward_part,
    inverse_part,
    observe_part,
    score_part,
    takes_statistics,
)
from numpyro_flowkit.transforms.repeated import runs, sequential_run


class Compose(Flow):
    """``x = T_K(... T_1(z))``: the first layer is next to the base.

    Conditional layers share one context; the others ignore it. Other NumPyro transforms of real
    vectors (of images, in a flow of images) may stand among the layers; then the composition has no
    spec.

    Shapes: z and x (..., D), or (..., channels, height, width) for flows of images, context
    (..., context_dim), log-determinants (...).

    Args:
        layers: one or more transforms, at least one of them a flow.

    Cost: the sum of the layers'.

    Raises:
        ValueError: if no flow is among the layers, or their dimensions or contexts differ.
        TypeError: if a layer is no transform.

    Example:
        >>> from numpyro.distributions.transforms import AffineTransform
        >>> from flowkit_core.specs import PermutationSpec
        >>> from numpyro_flowkit.transforms import Permutation
        >>> flow = Compose([Permutation(PermutationSpec((1, 0))), AffineTransform(1.0, 2.0)])
        >>> flow(jnp.array([1.0, 2.0])).tolist()
        [5.0, 3.0]
        >>> flow.inv(flow(jnp.array([1.0, 2.0]))).tolist()
        [1.0, 2.0]
    """

    leaf_names = ("layers",)
    static_names = ("spec", "_event_shape", "context_dim")

    layers: tuple[Transform, ...]
    _event_shape: tuple[int, ...]

    def __init__(self, layers: Sequence[Transform]) -> None:
        self.layers = tuple(layers)
        shapes = {layer.event_shape for layer in self.layers if isinstance(layer, _SIZED)}
        rank = max(map(len, shapes), default=1)
        for i, layer in enumerate(self.layers):
            check_part(f"layers[{i}]", layer, rank, last=i == len(self.layers) - 1)
        if len(shapes) != 1:
            what = "input_dim" if rank == 1 else "event shape"
            sizes = sorted(shape[0] if rank == 1 else shape for shape in shapes)
            raise ValueError(f"layers: expected one or more flows of equal {what}, got {sizes}")
        flows = [layer for layer in self.layers if isinstance(layer, Flow)]
        contexts = {flow.context_dim for flow in flows} - {0}
        if len(contexts) > 1:
            raise ValueError(f"layers: expected one context_dim, got {sorted(contexts)}")
        self._event_shape = shapes.pop()
        self.context_dim = contexts.pop() if contexts else 0
        specs = [flow.spec for flow in flows if flow.spec is not None]
        complete = len(specs) == len(self.layers)
        self.spec = ComposeSpec(tuple(specs)) if complete else None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one point, the same for all layers."""
        return self._event_shape

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return prod(self._event_shape)

    @property
    def codomain(self) -> constraints.Constraint:
        """That of the last layer."""
        last = self.layers[-1]
        return last.codomain if isinstance(last, _SIZED) else real_space(len(self._event_shape))

    @property
    def takes_statistics(self) -> bool:
        """Whether any layer takes its numbers from data."""
        return any(map(takes_statistics, self.layers))

    @property
    def awaits_data(self) -> bool:
        """Whether any ActNorm waits for its first batch."""
        return any(map(awaits_data, self.layers))

    @property
    def sequential_forward(self) -> bool:
        """Whether any layer goes coordinate by coordinate from base to data."""
        return any(getattr(layer, "sequential_forward", False) for layer in self.layers)

    @property
    def sequential_inverse(self) -> bool:
        """Whether any layer goes coordinate by coordinate from data to base."""
        return any(getattr(layer, "sequential_inverse", False) for layer in self.layers)

    @property
    def iterative_inverse(self) -> bool:
        """Whether any layer finds its inverse by Newton's method."""
        return any(getattr(layer, "iterative_inverse", False) for layer in self.layers)

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        return self._applied(self.layers, z, context, forward=True)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        return self._applied(self.layers[::-1], x, context, forward=False)

    def _applied(
        self, layers: Sequence[Transform], values: Array, context: Array | None, *, forward: bool
    ) -> tuple[Array, Array]:
        """Apply layers in turn, runs of equal ones and of couplings together."""
        direction = "sequential_forward" if forward else "sequential_inverse"
        single, rank = forward_part if forward else inverse_part, len(self.event_shape)
        log_det = jnp.zeros(self._batch(values.shape), values.dtype)
        for part in join_couplings(runs(layers, direction, values, context)):
            if isinstance(part, CouplingRun):
                values, change = part.apply(values, context, forward=forward)
            elif isinstance(part, Transform):
                values, change = single(part, values, context, rank)
            else:
                values, change = sequential_run(part, values, context)
            log_det = log_det + change
        return values, log_det

    def _observe(
        self, x: Array, context: Array | None, *, replace: bool
    ) -> tuple[Flow, Array, Array]:
        log_det = jnp.zeros(self._batch(x.shape), x.dtype)
        layers: list[Transform] = []
        for observing, run in groupby(self.layers[::-1], key=takes_statistics):
            if not observing:
                parts = tuple(run)
                x, change = self._applied(parts, x, context, forward=False)
                layers += parts
                log_det = log_det + change
                continue
            for part in cast(Iterator[Flow | ConditionedFlow], run):
                observed, x, change = observe_part(part, x, context, replace=replace)
                layers.append(observed)
                log_det = log_det + change
        return Compose(layers[::-1]), x, log_det

    def _forward_and_score(
        self, z: Array, score: Array, context: Array | None
    ) -> tuple[Array, Array, Array]:
        log_det = jnp.zeros(self._batch(z.shape), z.dtype)
        for layer in self.layers:
            z, change, score = score_part(layer, z, score, context, len(self.event_shape))
            log_det = log_det + change
        return z, log_det, score

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        return self._forward_and_score(z, score, context)[2]

    def _own_summary(self) -> str:
        lines = []
        for layer in self.layers:
            if isinstance(layer, Flow):
                own = layer._own_summary() if layer.spec is None else str(layer.spec)
            else:
                own = type(layer).__name__
            lines += own.splitlines()
        return "\n".join(["Compose(", *(f"  {line}" for line in lines), ")"])


# What has an input_dim of its own; other transforms adapt to the vector they are given.
_SIZED = (Flow, ConditionedFlow)
