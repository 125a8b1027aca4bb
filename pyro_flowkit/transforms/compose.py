"""Composition of transforms."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions.transforms import Transform

from flowkit_core.specs import ComposeSpec
from pyro_flowkit.transforms.base import Flow


class Compose(Flow):
    """Transforms applied one after the other, the first one next to the base.

    Parts of other packages may stand between our flows if they map real vectors; the composition
    then has no spec. Their modules are registered, so they train; their own caches, which nothing
    tells of changed weights, are emptied before each use.

    Cost: the sum of the parts' costs; one evaluation of each in either direction.

    Args:
        layers: one or more transforms. Flows must agree in input_dim, and in context_dim where it
            is not 0.

    Raises:
        ValueError: if there is none, or dimensions differ.
        TypeError: for something that is no transform.
    """

    def __init__(self, layers: Sequence[Transform]) -> None:
        parts = tuple(layers)
        for i, part in enumerate(parts):
            if not isinstance(part, Transform):
                raise TypeError(f"layers[{i}]: expected a transform, got {type(part).__name__}")
        flows = [p for p in parts if isinstance(p, Flow)]
        if not flows:
            raise ValueError(f"layers: expected at least one flow, got {parts}")
        dims = sorted({f.input_dim for f in flows})
        contexts = sorted({f.context_dim for f in flows} - {0})
        if len(dims) > 1 or len(contexts) > 1:
            raise ValueError(
                f"layers: expected one input_dim and one context_dim, got {dims} and {contexts}"
            )
        specs = [f.spec for f in flows if f.spec is not None]
        spec = ComposeSpec(tuple(specs)) if len(specs) == len(parts) else None
        super().__init__(dims[0], context_dim=max(contexts, default=0), spec=spec)
        self.layers = nn.ModuleList([p for p in parts if isinstance(p, nn.Module)])
        # The order of the parts; those that are no modules live here alone.
        self._foreign = {i: p for i, p in enumerate(parts) if not isinstance(p, nn.Module)}

    @property
    def parts(self) -> list[Transform]:
        """The transforms in the order of application."""
        modules = iter(self.layers)
        count = len(self.layers) + len(self._foreign)
        return [self._foreign[i] if i in self._foreign else next(modules) for i in range(count)]

    @property
    def sequential_forward(self) -> bool:
        """Whether any part goes coordinate by coordinate from base to data."""
        return any(isinstance(p, Flow) and p.sequential_forward for p in self.parts)

    @property
    def sequential_inverse(self) -> bool:
        """Whether any part goes coordinate by coordinate from data to base."""
        return any(isinstance(p, Flow) and p.sequential_inverse for p in self.parts)

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(z.shape[:-1])
        for part in self.parts:
            if isinstance(part, Flow):
                z, log_det = part._forward_and_log_det(z, context if part.context_dim else None)
            else:
                z, log_det = _foreign_forward(part, z)
            total = total + log_det
        return z, total

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(x.shape[:-1])
        for part in reversed(self.parts):
            if isinstance(part, Flow):
                x, log_det = part._inverse_and_log_det(x, context if part.context_dim else None)
            else:
                x, log_det = _foreign_inverse(part, x)
            total = total + log_det
        return x, total

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        total = z.new_zeros(z.shape[:-1])
        for part in self.parts:
            if isinstance(part, Flow):
                z, log_det, score = part._forward_and_score(
                    z, score.detach(), context if part.context_dim else None
                )
            else:
                z, log_det = _foreign_forward(part, z)
                score = _foreign_score(part, z, score)
            total = total + log_det
        return z, total, score

    def _own_summary(self) -> str:
        lines = [line for p in self.parts for line in repr(p).splitlines()]
        return "\n".join(["Compose(", *(f"  {line}" for line in lines), ")"])


def _forget(part: Transform) -> None:
    """Empty the caches of a foreign part."""
    for inner in getattr(part, "parts", ()):
        _forget(inner)
    for side in (part, part.inv):
        side.clear_cache()  # type: ignore[attr-defined]  # Pyro gives it to every transform


def _foreign_forward(part: Transform, z: Tensor) -> tuple[Tensor, Tensor]:
    _forget(part)
    x = part(z)
    return x, _per_point(part.log_abs_det_jacobian(z, x), z)


def _foreign_inverse(part: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    _forget(part)
    z = part.inv(x)
    return z, -_per_point(part.log_abs_det_jacobian(z, x), z)


def _foreign_score(part: Transform, x: Tensor, score: Tensor) -> Tensor:
    """Push a score through a part of which only its inverse and log-determinant are known."""
    (_, log_det), pull = torch.func.vjp(lambda x: _foreign_inverse(part, x), x.detach())
    (pushed,) = pull((score, torch.ones_like(log_det)))
    return pushed


def _per_point(log_det: Tensor, z: Tensor) -> Tensor:
    """Sum an element-wise log-determinant over the coordinates."""
    return log_det.sum(-1) if log_det.dim() == z.dim() else log_det
