"""Coupling layers: some coordinates pass through and yield the law of the others."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from flowkit_core import checks
from flowkit_core.specs import CouplingSpec
from numpyro_flowkit.laws import Additive, Affine, Centred, Law
from numpyro_flowkit.transforms.coupling_layer import CouplingLayer
from numpyro_flowkit.transforms.indexing import merge, take
from numpyro_flowkit.transforms.law_params import ConditionerLike, law_params


class Coupling(CouplingLayer):
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
        >>> import jax
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
        >>> flow(jax.numpy.array([1.0, 2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0]
    """

    static_names = ("mask", "law", "volume_preserving", "spec", "context_dim")

    mask: tuple[bool, ...]

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
        self.volume_preserving = checks.boolean("volume_preserving", volume_preserving)
        law = _centred(law) if volume_preserving else law
        super().__init__(
            len(self._moved), conditioner, law, context_dim=context_dim, free=free, spec=spec
        )

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
        return super()._log_det(log_slope)


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
