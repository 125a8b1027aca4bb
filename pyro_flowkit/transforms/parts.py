"""Any torch transform of real vectors or images as a part of a flow: its maps and score."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.checks import broadcast_batch
from pyro_flowkit.transforms.conditioned import ConditionedFlow


@runtime_checkable
class _Forgetful(Protocol):
    """Pyro gives every transform a way to empty its cache."""

    def clear_cache(self) -> None: ...


def check_part(name: str, part: Transform, rank: int, *, last: bool) -> None:
    """Raise unless ``part`` maps real vectors, or real numbers one by one, onto the same.

    Args:
        name: of the part, for the message.
        part: a transform.
        rank: of an event: 1 for vectors, 3 for images.
        last: whether it is the last part, which may be a flow whose data side is an interval.

    Raises:
        TypeError: if it is no transform.
        ValueError: if its domain or codomain is another.
    """
    if not isinstance(part, Transform):
        raise TypeError(f"{name}: expected a transform, got {type(part).__name__}")
    if isinstance(part, Flow | ConditionedFlow) and (
        last or _is_real(part.codomain, len(part.event_shape))
    ):
        return
    expected = "real or real_vector" if rank == 1 else f"real or independent(real, {rank})"
    for side, space in (("domain", part.domain), ("codomain", part.codomain)):
        if not _is_real(space, rank):
            raise ValueError(
                f"{name}: expected a transform whose {side} is {expected}, got {space} "
                f"of {type(part).__name__}; put it after the flow in a list of transforms"
            )


def _is_real(space: constraints.Constraint, rank: int) -> bool:
    """Whether a constraint is that of real numbers or events; torch's do not compare by value."""
    if isinstance(space, constraints.independent):
        is_event = space.reinterpreted_batch_ndims == rank
        return is_event and type(space.base_constraint) is type(constraints.real)
    return type(space) is type(constraints.real)


def forward_part(
    part: Transform, z: Tensor, context: Tensor | None, rank: int = 1
) -> tuple[Tensor, Tensor]:
    """Map by one part: x and ``log |det dx/dz|``; events have ``rank`` axes."""
    if isinstance(part, Flow):
        return part._forward_and_log_det(z, context if part.context_dim else None)
    if isinstance(part, ConditionedFlow):
        return part.forward_and_log_det(z)
    _forget(part)
    x = part(z)
    return x, _event_log_det(part.log_abs_det_jacobian(z, x), z, rank)


def inverse_part(
    part: Transform, x: Tensor, context: Tensor | None, rank: int = 1
) -> tuple[Tensor, Tensor]:
    """Invert one part: z and ``log |det dz/dx|``; events have ``rank`` axes."""
    if isinstance(part, Flow):
        return part._inverse_and_log_det(x, context if part.context_dim else None)
    if isinstance(part, ConditionedFlow):
        return part.inverse_and_log_det(x)
    _forget(part)
    z = part.inv(x)
    return z, -_event_log_det(part.log_abs_det_jacobian(z, x), z, rank)


def takes_statistics(part: Transform) -> bool:
    """Whether a layer inside of a part takes its numbers from data."""
    owner = part.flow if isinstance(part, ConditionedFlow) else part
    return isinstance(owner, Flow) and owner.takes_statistics


def awaits_data(part: Transform) -> bool:
    """Whether an ActNorm inside of a part waits for its first batch."""
    owner = part.flow if isinstance(part, ConditionedFlow) else part
    return isinstance(owner, Flow) and owner.awaits_data


def observe_part(
    part: Flow | ConditionedFlow, x: Tensor, context: Tensor | None, *, replace: bool
) -> tuple[Tensor, Tensor]:
    """Invert one part by the statistics of x itself, which the part takes in; see `Flow`."""
    if isinstance(part, ConditionedFlow):
        x, context = broadcast_batch("x", x, part.context, len(part.event_shape))
        return part.flow._observe(x, context, replace=replace)[1:]
    return part._observe(x, context if part.context_dim else None, replace=replace)[1:]


def score_part(
    part: Transform, z: Tensor, score: Tensor, context: Tensor | None, rank: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Map by one part and push a score: x, ``log |det dx/dz|`` and the score of x.

    Another package's part offers its inverse only: ``log q(x) = log q(z(x)) + log |det dz/dx|``,
    so one pullback through the inverse gives the score.
    """
    if isinstance(part, Flow):
        return part._forward_and_score(z, score, context if part.context_dim else None)
    if isinstance(part, ConditionedFlow):
        return part.forward_and_score(z, score)
    x, log_det = forward_part(part, z, context, rank)
    with torch.no_grad():
        (_, inverse_log_det), pull = torch.func.vjp(  # type: ignore[misc]  # typed for has_aux too
            lambda x: inverse_part(part, x, None, rank), x.detach()
        )
        (score_x,) = pull((score, torch.ones_like(inverse_log_det)))
    return x, log_det, score_x


def _forget(part: Transform) -> None:
    """Empty the caches of another package's part, which nothing tells of changed weights."""
    for inner in getattr(part, "parts", ()):
        _forget(inner)
    for side in (part, part.inv):
        if isinstance(side, _Forgetful):
            side.clear_cache()


def _event_log_det(log_det: Tensor, z: Tensor, rank: int) -> Tensor:
    """Log-determinant of the whole event: transforms of single numbers give one per number."""
    surplus = log_det.dim() - (z.dim() - rank)
    return log_det.sum(tuple(range(-surplus, 0))) if surplus else log_det
