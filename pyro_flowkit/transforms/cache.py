"""The last evaluated pair of a transform, kept so that scoring one's own sample is free.

Upstream transforms cache by tensor identity alone and then return stale values, values without a
graph, or values of a graph that is already spent. An entry here is used only when

1. the tensor asked about is one that this transform **produced** (a data tensor never hits);
2. no gradient would be lost: an entry made under ``no_grad`` is not used with gradients enabled,
   nor one made before a weight or a member of the pair began to require a gradient;
3. nothing was changed since: neither the weights (their identity, their version counters and the
   count of optimiser steps, since some optimisers bypass the counters) nor the pair itself.

A write through ``parameter.data`` moves no counter: call ``clear_cache()`` after one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook


class _OptimizerSteps:
    """Counts the steps of every optimiser in the process."""

    count = 0

    def __call__(self, *_: Any) -> None:
        type(self).count += 1


register_optimizer_step_post_hook(_OptimizerSteps())


def _versions(tensors: Sequence[Tensor]) -> list[int]:
    # Inference tensors have no counter; they cannot be changed in place outside inference mode.
    return [0 if t.is_inference() else t._version for t in tensors]


@dataclass
class CacheEntry:
    """One evaluated pair ``y = T(x)`` with its log-determinant and what it depended on."""

    x: Tensor
    y: Tensor
    log_det: Tensor
    produced: Literal["x", "y"]
    weights: tuple[Tensor, ...]
    grad_enabled: bool
    optimizer_steps: int
    versions: list[int]
    requires_grad: list[bool]

    @classmethod
    def of(
        cls,
        x: Tensor,
        y: Tensor,
        log_det: Tensor,
        produced: Literal["x", "y"],
        weights: tuple[Tensor, ...],
    ) -> "CacheEntry":
        """An entry that remembers the present state of everything it depends on."""
        return cls(
            x=x,
            y=y,
            log_det=log_det,
            produced=produced,
            weights=weights,
            grad_enabled=torch.is_grad_enabled(),
            optimizer_steps=_OptimizerSteps.count,
            versions=_versions((x, y, *weights)),
            requires_grad=[t.requires_grad for t in (x, y, *weights)],
        )

    def is_current(self, weights: tuple[Tensor, ...]) -> bool:
        """Whether using the entry now gives what a fresh evaluation would give."""
        return (
            (self.grad_enabled or not torch.is_grad_enabled())
            and self.optimizer_steps == _OptimizerSteps.count
            and len(weights) == len(self.weights)
            and all(a is b for a, b in zip(weights, self.weights, strict=True))
            and _versions((self.x, self.y, *weights)) == self.versions
            and [t.requires_grad for t in (self.x, self.y, *weights)] == self.requires_grad
        )
