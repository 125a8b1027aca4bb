"""What the coupling layers of vectors and of images share."""

from abc import abstractmethod

import jax
import jax.numpy as jnp
from jax import Array

from flowkit_core import checks
from flowkit_core.specs import FlowSpec
from numpyro_flowkit.conditioners.foreign import as_conditioner
from numpyro_flowkit.laws import Law
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.law_params import ConditionerLike, free_parameters


class CouplingLayer(Flow):
    """``x_A = z_A``, ``x_B = law(z_B; parameters of z_A)``: A passes through, B is moved.

    Subclasses say how points split into the two.

    Args:
        num_laws: how many laws there are; each has free parameters of its own.
        conditioner: from A (and a context) to raw parameters.
        law: the map of one number.
        context_dim: length of the context the conditioner takes.
        free: the law's free parameters (num_free, num_laws); zeros by default.
        spec: the architecture as data, or None.
    """

    leaf_names = ("conditioner", "free")

    conditioner: ConditionerLike
    law: Law
    free: Array | None

    def __init__(
        self,
        num_laws: int,
        conditioner: ConditionerLike,
        law: Law,
        *,
        context_dim: int,
        free: Array | None,
        spec: FlowSpec | None,
    ) -> None:
        self.conditioner = as_conditioner(conditioner)
        self.law = checks.instance("law", law, Law)
        self.free = free_parameters(law, num_laws, free)
        self.spec = spec
        self.context_dim = checks.int_at_least("context_dim", context_dim, 0)

    @abstractmethod
    def split(self, values: Array) -> tuple[Array, Array]:
        """What passes through, and the rest."""

    @abstractmethod
    def merge(self, kept: Array, moved: Array) -> Array:
        """Undo `split`."""

    @abstractmethod
    def _params(self, kept: Array, context: Array | None) -> tuple[Array, ...]:
        """Parameters of the laws."""

    def _at_moved(self, log_slope: Array) -> Array:
        """The log-slopes, zero where an array of the moved part holds nothing that is moved."""
        return log_slope

    def _log_det(self, log_slope: Array) -> Array:
        return log_slope.sum(tuple(range(-len(self.event_shape), 0)))

    def move(
        self, kept: Array, moved: Array, context: Array | None, *, forward: bool
    ) -> tuple[Array, Array]:
        """The new numbers of the moved part, and the log-determinant."""
        apply = self.law.forward if forward else self.law.inverse
        moved, log_slope = apply(moved, self._params(kept, context))
        return moved, self._log_det(self._at_moved(log_slope))

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        return self._coupled(z, context, forward=True)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        return self._coupled(x, context, forward=False)

    def _coupled(
        self, values: Array, context: Array | None, *, forward: bool
    ) -> tuple[Array, Array]:
        kept, moved = self.split(values)
        moved, log_det = self.move(kept, moved, context, forward=forward)
        return self.merge(kept, moved), log_det

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        # With J = [[1, 0], [C, diag(slope)]]: first solve for the moved part, then one pullback
        # through the network gives the rest. Only the law is differentiated twice.
        kept, moved = self.split(z)
        score_kept, score_moved = self.split(score)
        params, pull_params = jax.vjp(lambda kept: self._params(kept, context), kept)

        def law(moved: Array, params: tuple[Array, ...]) -> tuple[Array, Array]:
            new, log_slope = self.law.forward(moved, params)
            return new, self._at_moved(log_slope)

        (_, log_slope), pull_law = jax.vjp(law, moved, params)
        ones, zeros = jnp.ones_like(log_slope), jnp.zeros_like(log_slope)
        slope_gradient, _ = pull_law((zeros, ones))
        score_moved = (score_moved - slope_gradient) * jnp.exp(-log_slope)
        _, cotangent = pull_law((score_moved, ones))
        (kept_gradient,) = pull_params(cotangent)
        return self.merge(score_kept - kept_gradient, score_moved)
