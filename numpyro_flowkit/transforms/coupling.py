"""Coupling layers: some coordinates pass through and yield the law of the others."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from flowkit_core import checks
from flowkit_core.specs import CouplingSpec
from numpyro_flowkit.conditioners.foreign import as_conditioner
from numpyro_flowkit.laws import Additive, Affine, Centred, Law
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.indexing import merge, take
from numpyro_flowkit.transforms.law_params import ConditionerLike, free_parameters, law_params


class Coupling(Flow):
    """``x_A = z_A``, ``x_B = law(z_B; parameters of z_A)`` with any boolean mask.

    Shapes: z and x (..., D), context (..., context_dim), log-determinants (...). The conditioner
    maps (..., |A|) to (..., num_conditioned * |B|), parameter by parameter.

    Args:
        mask: True where a coordinate passes through (A). All False is allowed: the law then
            depends on the context alone.
        conditioner: an MLP, or any pytree that maps z_A (and a context) to raw parameters.
        law: the map of one coordinate.
        context_dim: length of the context the conditioner takes.
        free: the law's free parameters (num_free, |B|); zeros by default.
        volume_preserving: centre the log-scales of an affine law, so that they sum to zero: the
            log-determinant is 0. Of a single moved coordinate only the shift is left.
        spec: the architecture as data; leave it out for a conditioner or law of your own.

    Cost: one network pass in either direction; the inverse is exact.

    Stability: scales are softly bounded by the law.

    Raises:
        ValueError: for a mask that is all True, which would leave nothing to transform, or a law
            that cannot preserve volume if it has to.
        TypeError: for a mask that is not boolean, or a conditioner that cannot be called or is a
            plain function.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, equations 7 and 8;
        path-gradient rule: Vaitl et al., "Fast and unified path gradient estimators", 2024.

    Example:
        >>> from flowkit_core.specs import MLPSpec
        >>> from numpyro_flowkit.conditioners import MLP
        >>> from numpyro_flowkit.laws import Additive
        >>> net = MLP.init(
        ...     jax.random.key(0),
        ...     MLPSpec(
        ...         hidden_dims=(8,), activation="relu", context_dim=0, num_inputs=1, num_outputs=2
        ...     ),
        ... )
        >>> flow = Coupling((False, True, False), net, Additive())
        >>> flow(jnp.array([1.0, 2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0]
    """

    leaf_names = ("conditioner", "free")
    static_names = ("mask", "law", "volume_preserving", "spec", "context_dim")

    mask: tuple[bool, ...]
    conditioner: ConditionerLike
    law: Law
    free: Array | None

    def __init__(
        self,
        mask: Sequence[bool],
        conditioner: ConditionerLike,
        law: Law,
        *,
        context_dim: int = 0,
        free: Array | None = None,
        volume_preserving: bool = False,
        spec: CouplingSpec | None = None,
    ) -> None:
        self.mask = checks.boolean_mask("mask", mask)
        if all(self.mask):
            raise ValueError(
                "mask: expected at least one False entry (a coordinate to transform), "
                f"got all {len(self.mask)} True"
            )
        self.conditioner = as_conditioner(conditioner)
        self.volume_preserving = checks.boolean("volume_preserving", volume_preserving)
        self.law = _centred(law) if volume_preserving else checks.instance("law", law, Law)
        self.free = free_parameters(law, len(self._moved), free)
        self.spec = spec
        self.context_dim = checks.int_at_least("context_dim", context_dim, 0)

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return len(self.mask)

    @property
    def _kept(self) -> tuple[int, ...]:
        return tuple(i for i, keep in enumerate(self.mask) if keep)

    @property
    def _moved(self) -> tuple[int, ...]:
        return tuple(i for i, keep in enumerate(self.mask) if not keep)

    def split(self, values: Array) -> tuple[Array, Array]:
        """The coordinates that pass through, and the others."""
        return take(values, self._kept), take(values, self._moved)

    def merge(self, kept: Array, moved: Array) -> Array:
        """Undo `split`."""
        return merge((kept, moved), (self._kept, self._moved))

    def _params(self, kept: Array, context: Array | None) -> tuple[Array, ...]:
        count = len(self._moved)
        return law_params(self.conditioner, self.law, self.free, kept, context, count)

    def _log_det(self, log_slope: Array) -> Array:
        if self.volume_preserving:  # exactly, where a sum would leave rounding
            return jnp.zeros(log_slope.shape[:-1], log_slope.dtype)
        return log_slope.sum(-1)

    def move(
        self, kept: Array, moved: Array, context: Array | None, *, forward: bool
    ) -> tuple[Array, Array]:
        """The new coordinates of the moved part, and the log-determinant."""
        apply = self.law.forward if forward else self.law.inverse
        moved, log_slope = apply(moved, self._params(kept, context))
        return moved, self._log_det(log_slope)

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        kept, moved = self.split(z)
        moved, log_det = self.move(kept, moved, context, forward=True)
        return self.merge(kept, moved), log_det

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        kept, moved = self.split(x)
        moved, log_det = self.move(kept, moved, context, forward=False)
        return self.merge(kept, moved), log_det

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        # With J = [[1, 0], [C, diag(slope)]]: first solve for the moved coordinates, then one
        # pullback through the network gives the rest. Only the law is differentiated twice.
        kept, moved = self.split(z)
        score_kept, score_moved = self.split(score)
        params, pull_params = jax.vjp(lambda kept: self._params(kept, context), kept)

        def law(moved: Array, params: tuple[Array, ...]) -> tuple[Array, Array]:
            return self.law.forward(moved, params)

        (_, log_slope), pull_law = jax.vjp(law, moved, params)
        ones, zeros = jnp.ones_like(log_slope), jnp.zeros_like(log_slope)
        slope_gradient, _ = pull_law((zeros, ones))
        score_moved = (score_moved - slope_gradient) * jnp.exp(-log_slope)
        _, cotangent = pull_law((score_moved, ones))
        (kept_gradient,) = pull_params(cotangent)
        return self.merge(score_kept - kept_gradient, score_moved)


def _centred(law: Law) -> Law:
    """A law that preserves volume."""
    if isinstance(law, Additive):
        return law
    if isinstance(law, Affine):
        return Centred(law)
    raise ValueError(
        "volume_preserving: expected an Affine or Additive law, whose log-scales are the same at "
        f"every point, got {type(law).__name__}"
    )
