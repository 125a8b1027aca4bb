"""Any NumPyro transform of real vectors or images as a part of a flow: its maps and score."""

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.conditioned import ConditionedFlow
from numpyro_flowkit.transforms.native import real_space


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
        hint = "; call the recipe's result with a key first" if callable(part) else ""
        raise TypeError(f"{name}: expected a transform, got {type(part).__name__}{hint}")
    if isinstance(part, Flow | ConditionedFlow) and (
        last or part.codomain == real_space(len(part.event_shape))
    ):
        return
    expected = "real or real_vector" if rank == 1 else f"real or independent(real, {rank})"
    for side, space in (("domain", part.domain), ("codomain", part.codomain)):
        if space not in (constraints.real, real_space(rank)):
            raise ValueError(
                f"{name}: expected a transform whose {side} is {expected}, got {space} "
                f"of {type(part).__name__}; put it after the flow in a list of transforms"
            )


def forward_part(
    part: Transform, z: Array, context: Array | None, rank: int = 1
) -> tuple[Array, Array]:
    """Map by one part: x and ``log |det dx/dz|``, by one evaluation where the part allows it.

    Events have ``rank`` axes.
    """
    if isinstance(part, Flow):
        return part._forward_and_log_det(z, context if part.context_dim else None)
    if isinstance(part, ConditionedFlow):
        return part.forward_and_log_det(z)
    x, intermediates = part.call_with_intermediates(z)
    return x, _event_log_det(part, part.log_abs_det_jacobian(z, x, intermediates), x, rank)


def inverse_part(
    part: Transform, x: Array, context: Array | None, rank: int = 1
) -> tuple[Array, Array]:
    """Invert one part: z and ``log |det dz/dx|``; events have ``rank`` axes."""
    if isinstance(part, Flow):
        return part._inverse_and_log_det(x, context if part.context_dim else None)
    if isinstance(part, ConditionedFlow):
        return part.inverse_and_log_det(x)
    z = part.inv(x)  # not part._inverse, which NumPyro's view of an inverse lacks
    return z, -_event_log_det(part, part.log_abs_det_jacobian(z, x, None), x, rank)


def takes_statistics(part: Transform) -> bool:
    """Whether a layer inside of a part takes its numbers from data."""
    owner = part.flow if isinstance(part, ConditionedFlow) else part
    return isinstance(owner, Flow) and owner.takes_statistics


def awaits_data(part: Transform) -> bool:
    """Whether an ActNorm inside of a part waits for its first batch."""
    owner = part.flow if isinstance(part, ConditionedFlow) else part
    return isinstance(owner, Flow) and owner.awaits_data


def observe_part(
    part: Flow | ConditionedFlow, x: Array, context: Array | None, *, replace: bool
) -> tuple[Transform, Array, Array]:
    """Invert one part by the statistics of x itself: the part that has taken them in, z, log-det.

    See `Flow._observe`.
    """
    if isinstance(part, ConditionedFlow):
        (x,), given = part.flow._checked("x", (x,), part.context)
        flow, z, log_det = part.flow._observe(x, given, replace=replace)
        return ConditionedFlow(flow, part.context), z, log_det
    return part._observe(x, context if part.context_dim else None, replace=replace)


def score_part(
    part: Transform, z: Array, score: Array, context: Array | None, rank: int = 1
) -> tuple[Array, Array, Array]:
    """Map by one part and push a score: x, ``log |det dx/dz|`` and the score of x.

    Another package's part offers its inverse only: ``log q(x) = log q(z(x)) + log |det dz/dx|``,
    so one pullback through the inverse gives the score.
    """
    if isinstance(part, Flow):
        return part._forward_and_score(z, score, context if part.context_dim else None)
    if isinstance(part, ConditionedFlow):
        return part.forward_and_score(z, score)
    x, log_det = forward_part(part, z, context, rank)
    frozen, point = jax.tree.map(jax.lax.stop_gradient, (part, x))
    (_, inverse_log_det), pull = jax.vjp(lambda x: inverse_part(frozen, x, None, rank), point)
    (score_x,) = pull((score, jnp.ones_like(inverse_log_det)))
    return x, log_det, score_x


def sum_last(values: Array, count: int) -> Array:
    """The sum over the last ``count`` axes, also of an empty batch, where NumPyro's own fails."""
    return values.sum(tuple(range(-count, 0)))


def _event_log_det(part: Transform, log_det: Array, x: Array, rank: int) -> Array:
    """Log-determinant of the whole event: transforms of single numbers give one per number."""
    summed = sum_last(log_det, rank - part.codomain.event_dim)
    return jnp.broadcast_to(summed, x.shape[:-rank]).astype(x.dtype)
