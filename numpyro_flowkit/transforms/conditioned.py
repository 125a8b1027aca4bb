"""A flow with its context fixed."""

import jax.numpy as jnp
from jax import Array
from numpyro.distributions import constraints

from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.native import NativeTransform, Shape


class ConditionedFlow(NativeTransform):
    """The transform ``z -> flow(z, context)``, made by `Flow.condition`.

    Weights and context are its leaves. Batch dimensions of the context broadcast against those of
    the input, so posteriors of many contexts score one another's samples: x (M, 1, D) against a
    context (N, C) gives (M, N).

    Args:
        flow: a conditional flow.
        context: (..., context_dim).

    Raises:
        ValueError: if the flow takes no context, or one of another length.
        TypeError: if the context is not floating.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import realnvp
        >>> flow = realnvp(3, num_layers=2, context_dim=2)(jax.random.key(0))
        >>> posteriors = flow.condition(jnp.ones((5, 2)))
        >>> posteriors(jnp.zeros((7, 1, 3))).shape
        (7, 5, 3)
    """

    leaf_names = ("flow", "context")

    flow: Flow
    context: Array

    def __init__(self, flow: Flow, context: Array) -> None:
        checked = flow.check_context(context)
        if checked is None:
            raise ValueError(f"context: expected shape (..., {flow.context_dim}), got none")
        self.flow = flow
        self.context = checked

    @property
    def codomain(self) -> constraints.Constraint:
        """That of the flow."""
        return self.flow.codomain

    @property
    def input_dim(self) -> int:
        """Number of coordinates D."""
        return self.flow.input_dim

    @property
    def event_shape(self) -> Shape:
        """Shape of one point."""
        return self.flow.event_shape

    @property
    def sequential_forward(self) -> bool:
        """Whether sampling goes coordinate by coordinate."""
        return self.flow.sequential_forward

    @property
    def sequential_inverse(self) -> bool:
        """Whether scoring goes coordinate by coordinate."""
        return self.flow.sequential_inverse

    @property
    def iterative_inverse(self) -> bool:
        """Whether scoring takes Newton's method."""
        return self.flow.iterative_inverse

    def forward_and_log_det(self, z: Array) -> tuple[Array, Array]:
        """Map base to data; see `Flow.forward_and_log_det`."""
        return self.flow.forward_and_log_det(z, self.context)

    def inverse_and_log_det(self, x: Array) -> tuple[Array, Array]:
        """Map data to base; see `Flow.inverse_and_log_det`."""
        return self.flow.inverse_and_log_det(x, self.context)

    def forward_and_score(self, z: Array, score: Array) -> tuple[Array, Array, Array]:
        """Map base to data and push a score along; see `Flow.forward_and_score`."""
        return self.flow.forward_and_score(z, score, self.context)

    def forward_shape(self, shape: Shape) -> Shape:
        """Shape of x for a z of that shape: batch dimensions broadcast with the context's."""
        return self._broadcast(self.flow.forward_shape(shape))

    def inverse_shape(self, shape: Shape) -> Shape:
        """Shape of z for an x of that shape."""
        return self._broadcast(self.flow.inverse_shape(shape))

    def _broadcast(self, shape: Shape) -> Shape:
        batch = shape[: -len(self.event_shape)]
        return (*jnp.broadcast_shapes(batch, self.context.shape[:-1]), *self.event_shape)

    def __repr__(self) -> str:
        return f"ConditionedFlow(context={jnp.shape(self.context)}, flow={self.flow!r})"
