"""A flow with its context fixed."""

import torch
from torch import Tensor

from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.native import NativeTransform


class ConditionedFlow(NativeTransform):
    """The transform ``z -> flow(z, context)``, made by `Flow.condition`.

    It owns no weights: they stay with the flow, which is what to register with Pyro. Batch
    dimensions of the context broadcast against those of the input, so posteriors of many contexts
    score one another's samples: x (M, 1, D) against a context (N, C) gives (M, N).

    Args:
        flow: a conditional flow.
        context: (..., context_dim).

    Raises:
        ValueError: if the flow takes no context, or one of another length or device.
        TypeError: if the context is no tensor of the flow's dtype.

    Example:
        >>> from pyro_flowkit import realnvp
        >>> flow = realnvp(3, num_layers=2, context_dim=2)
        >>> posteriors = flow.condition(torch.ones(5, 2))
        >>> posteriors(torch.zeros(7, 1, 3)).shape
        torch.Size([7, 5, 3])
    """

    def __init__(self, flow: Flow, context: Tensor) -> None:
        super().__init__()
        flow.check_context(context)
        # In a tuple, so that no module that holds this transform registers the weights twice.
        self._flow = (flow,)
        self.context = context
        self.domain, self.codomain = flow.domain, flow.codomain

    @property
    def flow(self) -> Flow:
        """The flow that owns the weights."""
        return self._flow[0]

    @property
    def input_dim(self) -> int:
        """Number of coordinates D."""
        return self.flow.input_dim

    @property
    def event_shape(self) -> tuple[int, ...]:  # type: ignore[override]
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

    def forward_and_log_det(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map base to data; see `Flow.forward_and_log_det`."""
        return self.flow.forward_and_log_det(z, self.context)

    def inverse_and_log_det(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to base; see `Flow.inverse_and_log_det`."""
        return self.flow.inverse_and_log_det(x, self.context)

    def forward_and_score(self, z: Tensor, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map base to data and push a score along; see `Flow.forward_and_score`."""
        return self.flow.forward_and_score(z, score, self.context)

    def dependencies(self) -> tuple[Tensor, ...]:
        """The flow's weights and the context."""
        return (*self.flow.dependencies(), self.context)

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Shape of x for a z of that shape: batch dimensions broadcast with the context's."""
        return self._broadcast(self.flow.forward_shape(shape))

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Shape of z for an x of that shape."""
        return self._broadcast(self.flow.inverse_shape(shape))

    def _broadcast(self, shape: torch.Size) -> torch.Size:
        batch = shape[: -len(self.event_shape)]
        broadcast = torch.broadcast_shapes(batch, self.context.shape[:-1])
        return torch.Size((*broadcast, *self.event_shape))

    def __repr__(self) -> str:
        return f"ConditionedFlow(context={tuple(self.context.shape)}, flow={self.flow!r})"
