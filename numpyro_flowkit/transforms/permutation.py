"""Fixed permutation of the coordinates."""

import jax.numpy as jnp
from jax import Array

from flowkit_core import checks, masks
from flowkit_core.specs import PermutationSpec
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.indexing import take


class Permutation(Flow):
    """``x[i] = z[order[i]]``; the log-determinant is 0.

    The order is static, so it is never differentiated and never a parameter.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: one copy in either direction, exact.

    Args:
        spec: ``PermutationSpec(order)``.

    Example:
        >>> Permutation(PermutationSpec((2, 0, 1)))(jnp.array([1.0, 2.0, 3.0])).tolist()
        [3.0, 1.0, 2.0]
    """

    static_names = ("spec",)

    spec: PermutationSpec
    context_dim = 0

    def __init__(self, spec: PermutationSpec) -> None:
        self.spec = checks.instance("spec", spec, PermutationSpec)

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return self.spec.input_dim

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        return take(z, self.spec.order), jnp.zeros(z.shape[:-1], z.dtype)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        inverse = masks.invert_order(self.spec.order)
        return take(x, inverse), jnp.zeros(x.shape[:-1], x.dtype)

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        return take(score, self.spec.order)
