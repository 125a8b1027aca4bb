"""Flow: the base class of every trainable transform of this wing."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from pyro.distributions import TransformModule
from torch import Tensor

from flowkit_core.specs import FlowSpec
from pyro_flowkit.transforms.checks import (
    broadcast_batch,
    floating,
    last_dim,
    last_dims,
    tracing,
)
from pyro_flowkit.transforms.native import NativeTransform, real_space

if TYPE_CHECKING:
    from pyro_flowkit.transforms.conditioned import ConditionedFlow


class Flow(NativeTransform, TransformModule):
    """An invertible map of real vectors or images, base z to data x, with weights as parameters.

    Every flow offers value and log-determinant in both directions in one call; ``flow(z)``,
    ``flow.inv(x)`` and ``log_abs_det_jacobian`` derive from them, so a flow is a native
    `pyro.distributions.TransformModule`.

    Shapes: z and x (..., D) with any batch dimensions, also none and empty ones; context
    (..., context_dim), its batch dimensions broadcast against those of z and x; log-determinants
    (...), in nats. For a flow of images z and x are (..., channels, height, width).

    Subclasses implement the three hooks with a leading underscore, whose arguments are checked.

    Args:
        input_dim: number of coordinates D.
        context_dim: length of the context; 0 for an unconditional flow.
        spec: the architecture as data; None if a user's own network or law is inside.
        event_shape: shape of one point, (D,) by default; (channels, height, width) for images.
    """

    spec: FlowSpec | None = None

    def __init__(
        self,
        input_dim: int,
        *,
        context_dim: int = 0,
        spec: FlowSpec | None,
        event_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.event_shape = (input_dim,) if event_shape is None else event_shape
        if len(self.event_shape) > 1:
            self.domain = self.codomain = real_space(len(self.event_shape))
        self.context_dim = context_dim
        if spec is not None:  # Compose reads its own off the layers
            self.spec = spec

    @property
    def sequential_forward(self) -> bool:
        """Whether ``flow(z)`` goes coordinate by coordinate; the other direction is one pass."""
        return False

    @property
    def sequential_inverse(self) -> bool:
        """Whether ``flow.inv(x)`` goes coordinate by coordinate."""
        return False

    @property
    def takes_statistics(self) -> bool:
        """Whether a layer inside takes its numbers from data (ActNorm, BatchNorm)."""
        return False

    @property
    def awaits_data(self) -> bool:
        """Whether an ActNorm inside waits for its first batch; see `start_from_data`."""
        return False

    @property
    def iterative_inverse(self) -> bool:
        """Whether ``flow.inv(x)`` is found by Newton's method, within a budget of steps."""
        return False

    @abstractmethod
    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        """``J^-T (score - grad_z log |det J|)``; nothing differentiates through it."""

    def _observe(
        self, x: Tensor, context: Tensor | None, *, replace: bool
    ) -> tuple["Flow", Tensor, Tensor]:
        """Map data to base by the statistics of x itself, where a layer takes any.

        Flows of flows override it, and the two properties that tell of such layers.

        Args:
            x: (..., D).
            context: (..., context_dim), or None.
            replace: whether the statistics are kept as they are, which starts an ActNorm, or enter
                running averages.

        Returns:
            This flow, changed in place, that has taken the statistics in; z; ``log |det dz/dx|``.
        """
        return self, *self._inverse_and_log_det(x, context)

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, log_det = self._forward_and_log_det(z, context)
        # Path gradients treat the score as a constant, so its graph is not recorded.
        with torch.no_grad():
            return x, log_det, self._push_score(z.detach(), x.detach(), score, context)

    def forward_and_log_det(
        self, z: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map base to data.

        Args:
            z: (..., D).
            context: (..., context_dim) for a conditional flow, else None.

        Returns:
            x of shape (..., D) and ``log |det dx/dz|`` of shape (...).

        Raises:
            ValueError: for a wrong shape, a missing or superfluous context, or another device.
            TypeError: for something other than a tensor of the flow's floating dtype.
        """
        return self._forward_and_log_det(*self._checked("z", z, context))

    def inverse_and_log_det(
        self, x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map data to base.

        Returns:
            z of shape (..., D) and ``log |det dz/dx|`` of shape (...), the log-determinant of the
            inverse map: ``log p(x) = log p_base(z) + log_det``.

        Raises:
            ValueError, TypeError: as `forward_and_log_det`.
        """
        return self._inverse_and_log_det(*self._checked("x", x, context))

    def forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map base to data and push a score along, without any inverse.

        Given ``score = d log q(z) / dz`` return x, the log-determinant and
        ``score_x = d log q(x) / dx = J^-T (score - grad_z log |det J|)``. Path gradients (sticking
        the landing) treat the score as a constant, so ``score_x`` carries no gradient.

        Args:
            z: (..., D).
            score: of the shape of z.
            context: (..., context_dim) for a conditional flow, else None.

        Raises:
            ValueError, TypeError: as `forward_and_log_det`.

        References:
            Vaitl et al., "Path-Gradient Estimators for Continuous Normalizing Flows", 2022, and
            "Fast and unified path gradient estimators for normalizing flows", 2024.
        """
        checked, context = self._checked("z", z, context)
        if score.shape != z.shape:
            raise ValueError(
                f"score: expected the shape of z, {tuple(z.shape)}, got {tuple(score.shape)}"
            )
        return self._forward_and_score(checked, score.detach().expand(checked.shape), context)

    def condition(self, context: Tensor) -> "ConditionedFlow":
        """The native transform with the context fixed.

        The network runs when the transform is used, not here; the weights stay with this flow.

        Args:
            context: (..., context_dim).

        Raises:
            ValueError: if the flow takes no context, or one of another length.
        """
        from pyro_flowkit.transforms.conditioned import ConditionedFlow

        return ConditionedFlow(self, context)

    def dependencies(self) -> tuple[Tensor, ...]:
        """The weights."""
        return tuple(self.parameters())

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        """Shape of x for a z of that shape."""
        last_dims("z", shape, self.event_shape)
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        """Shape of z for an x of that shape."""
        last_dims("x", shape, self.event_shape)
        return shape

    def __getstate__(self) -> dict[str, Any]:
        # Pyro's parameter store leaves weak references on parameters, which cannot be pickled.
        for parameter in self.parameters():
            parameter.__dict__.pop("unconstrained", None)
        return super().__getstate__()

    def __hash__(self) -> int:
        # By identity, as TransformModule does through super(), which torch.compile cannot trace.
        return id(self)

    def __repr__(self) -> str:
        count = sum(p.numel() for p in self.parameters())
        summary = str(self.spec) if self.spec is not None else self._own_summary()
        return f"{summary}  # {count} parameters"

    def _own_summary(self) -> str:
        context = f", context_dim={self.context_dim}" if self.context_dim else ""
        size = f"input_dim={self.input_dim}"
        if len(self.event_shape) > 1:
            size = f"image_shape={self.event_shape}"
        return f"{type(self).__name__}({size}{context}, no spec)"

    def check_context(self, context: Tensor | None) -> None:
        """Raise unless ``context`` is what this flow takes."""
        if self.context_dim == 0:
            if context is not None:
                raise ValueError("context: this flow takes none (context_dim=0), got one")
            return
        if context is None:
            raise ValueError(
                f"context: this flow needs one of shape (..., {self.context_dim}), got none; "
                "pass context=..., or use flow.condition(context)"
            )
        floating("context", context, *self._kind())
        last_dim("context", context.shape, self.context_dim)

    def _batch(self, values: Tensor) -> torch.Size:
        """Batch dimensions of z or x."""
        return values.shape[: -len(self.event_shape)]

    def _kind(self) -> tuple[torch.dtype | None, torch.device | None]:
        """Dtype of the weights and device of the flow, as far as it has them."""
        weight = next(self.parameters(), None)
        if weight is not None:
            return weight.dtype, weight.device
        buffer = next(self.buffers(), None)
        return None, None if buffer is None else buffer.device

    def _checked(
        self, name: str, value: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The arguments, expanded to one batch shape, or an error that says what is wrong."""
        if tracing():  # checks would be recorded as constants, with warnings
            return broadcast_batch(name, value, context, len(self.event_shape))
        floating(name, value, *self._kind())
        last_dims(name, value.shape, self.event_shape)
        self.check_context(context)
        return broadcast_batch(name, value, context, len(self.event_shape))
