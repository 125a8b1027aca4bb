"""What the coupling layers of vectors and of images share."""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from flowkit_core import checks
from flowkit_core.specs import FlowSpec
from pyro_flowkit.laws import Law, Params
from pyro_flowkit.transforms.base import Flow
from pyro_flowkit.transforms.law_params import free_parameters
from pyro_flowkit.transforms.modes import plainly_recorded


class CouplingLayer(Flow):
    """``x_A = z_A``, ``x_B = law(z_B; parameters of z_A)``: A passes through, B is moved.

    Subclasses say how points split into the two.

    Args:
        event_shape: shape of one point.
        num_laws: how many laws there are; each has free parameters of its own.
        conditioner: from A (and a context) to raw parameters.
        law: the map of one number.
        context_dim: length of the context the conditioner takes.
        free: start values (num_free, num_laws) of the law's free parameters; zeros by default.
        spec: the architecture as data, or None.
    """

    free: nn.Parameter | None

    def __init__(
        self,
        event_shape: tuple[int, ...],
        num_laws: int,
        conditioner: nn.Module,
        law: Law,
        *,
        context_dim: int,
        free: Tensor | None,
        spec: FlowSpec | None,
    ) -> None:
        context_dim = checks.int_at_least("context_dim", context_dim, 0)
        super().__init__(
            prod(event_shape), context_dim=context_dim, spec=spec, event_shape=event_shape
        )
        self.conditioner = checks.instance("conditioner", conditioner, nn.Module)
        self.law = checks.instance("law", law, Law)
        self.free = free_parameters(law, num_laws, free)
        self._num_laws = num_laws
        self._event_axes = tuple(range(-len(event_shape), 0))

    @abstractmethod
    def split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """What passes through, and the rest."""

    @abstractmethod
    def merge(self, kept: Tensor, moved: Tensor) -> Tensor:
        """Undo `split`."""

    @abstractmethod
    def _params(self, kept: Tensor, context: Tensor | None) -> Params:
        """Parameters of the laws."""

    def _at_moved(self, log_slope: Tensor) -> Tensor:
        """The log-slopes, zero where an array of the moved part holds nothing that is moved."""
        return log_slope

    def _log_det(self, log_slope: Tensor) -> Tensor:
        return log_slope.sum(self._event_axes)

    def move(
        self, kept: Tensor, moved: Tensor, context: Tensor | None, *, forward: bool
    ) -> tuple[Tensor, Tensor]:
        """The new numbers of the moved part, and the log-determinant."""
        apply = self.law.forward if forward else self.law.inverse
        moved, log_slope = apply(moved, self._params(kept, context))
        return moved, self._log_det(self._at_moved(log_slope))

    def _forward_and_log_det(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._coupled(z, context, forward=True)

    def _inverse_and_log_det(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._coupled(x, context, forward=False)

    def _coupled(
        self, values: Tensor, context: Tensor | None, *, forward: bool
    ) -> tuple[Tensor, Tensor]:
        kept, moved = self.split(values)
        moved, log_det = self.move(kept, moved, context, forward=forward)
        return self.merge(kept, moved), log_det

    def _forward_and_score(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not plainly_recorded():
            return super()._forward_and_score(z, score, context)
        halves = self.split(z)
        moved, log_det, scores = self.move_score(halves, self.split(score), context)
        return self.merge(halves[0], moved), log_det, self.merge(*scores)

    def move_score(
        self, halves: tuple[Tensor, Tensor], scores: tuple[Tensor, Tensor], context: Tensor | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """The new numbers of the moved part, the log-determinant, and the scores pushed.

        As `_push_score`, through the graph that is recorded for the weights in any case.
        """
        # Names of their own: one half may be a function of the other, in a layer before this one.
        at_kept, at_moved = (
            half.view_as(half) if half.requires_grad else half.detach().requires_grad_()
            for half in halves
        )
        new, log_slope = self._law(at_moved, self._params(at_kept, context))
        ones = torch.ones_like(log_slope)
        slope_gradient = _derivative((log_slope,), at_moved, (ones,))
        moved = (scores[1] - slope_gradient) * torch.exp(-log_slope.detach())
        kept = scores[0] - _derivative((new, log_slope), at_kept, (moved, ones))
        return new, self._log_det(log_slope), (kept, moved)

    def _law(self, moved: Tensor, params: Params) -> tuple[Tensor, Tensor]:
        new, log_slope = self.law.forward(moved, params)
        return new, self._at_moved(log_slope)

    def _push_score(self, z: Tensor, x: Tensor, score: Tensor, context: Tensor | None) -> Tensor:
        # With J = [[1, 0], [C, diag(slope)]]: first solve for the moved part, then one pullback
        # through the network gives the rest.
        kept, moved = self.split(z)
        score_kept, score_moved = self.split(score)

        def coupled(kept: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
            return self._law(moved, self._params(kept, context))

        (new, log_slope), pull = torch.func.vjp(  # type: ignore[misc]  # typed for has_aux too
            coupled, kept, moved
        )
        ones = torch.ones_like(log_slope)
        _, slope_gradient = pull((torch.zeros_like(new), ones))
        score_moved = (score_moved - slope_gradient) * torch.exp(-log_slope)
        kept_gradient, _ = pull((score_moved, ones))
        return self.merge(score_kept - kept_gradient, score_moved)


def _derivative(values: Sequence[Tensor], at: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Weighted sum of derivatives of recorded values, whose graph is kept; zero if constant."""
    pairs = [pair for pair in zip(values, weights, strict=True) if pair[0].requires_grad]
    if not pairs:
        return torch.zeros_like(at)
    outputs, cotangents = zip(*pairs, strict=True)
    (found,) = torch.autograd.grad(
        outputs, at, cotangents, retain_graph=True, materialize_grads=True
    )
    return found
