"""What ELBOs share whose gradients are those of one differentiable loss."""

import math
from collections.abc import Callable
from typing import Any

from pyro.infer import ELBO
from torch import Tensor

from flowkit_core import checks


class DifferentiableELBO(ELBO):
    """An ELBO that gives its loss as a tensor, from whose gradients a step follows.

    Args:
        num_particles: number of draws.
        vectorize_particles: draw all at once, in a plate to the left of all others.
        max_plate_nesting: of the model, for vectorised particles; guessed if infinite.
    """

    def __init__(
        self,
        num_particles: int,
        *,
        vectorize_particles: bool = False,
        max_plate_nesting: float = math.inf,
    ) -> None:
        super().__init__(
            num_particles=checks.positive_int("num_particles", num_particles),
            vectorize_particles=checks.boolean("vectorize_particles", vectorize_particles),
            max_plate_nesting=max_plate_nesting,
        )

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """The loss in nats as a tensor."""
        raise NotImplementedError

    def loss_and_grads(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """The loss in nats, with its gradients added to those of the parameters."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward(retain_graph=self.retain_graph)
        return loss.item()
