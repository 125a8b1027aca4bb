"""Sylvester layer."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array, lax

from flowkit_core.specs import SylvesterSpec
from numpyro_flowkit.spread import alike
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.matrices import apply
from numpyro_flowkit.transforms.orthonormal import orthonormal_columns
from numpyro_flowkit.transforms.residual_activations import (
    RESIDUAL_ACTIVATIONS,
    ResidualActivation,
    invertible,
)


class Sylvester(Flow):
    r"""``x = z + Q R1 h(R2 Q^T z + b)``: M orthonormal columns Q, upper triangles R1 and R2.

    By Sylvester's identity ``det(I + Q R1 D R2 Q^T) = det(I + D R2 R1)`` with ``D = diag(h')``,
    so ``log |det| = sum_i log(1 + h'_i g_i)`` with the gains ``g_i = R1_ii R2_ii``. R1 is
    the triangle of ``outer``, its columns times factors that keep the gains above -0.99
    (`residual_activations.invertible`); at ``outer = 0`` the layer is the identity.

    Shapes: z and x (..., D), log-determinants (...).

    Args:
        spec: the architecture as data.
        arrays: arrays under the names of ``spec.arrays()``; of ``outer`` and ``inner`` the upper
            triangles are used.

    Cost: 2 D M per point in either direction, and D M^2 once per call. For the inverse ``y + R2 R1
    h(y) = R2 Q^T x + b`` is solved from the last of M numbers to the first, each by Newton's
    method (4 steps as a rule; "leaky_relu" in closed form), to rounding; its derivatives are
    implicit. A score takes M^2 numbers per point.

    Stability: each of the M factors of the determinant is at least 0.01, so its logarithm is finite
    whatever the weights. Large entries beside the diagonals magnify rounding on the way back.

    Raises:
        ValueError: if the names of the arrays are not those of the spec.
        InverseNotConverged: from the inverse, if ``max_iterations`` is too small; under ``jit`` the
            points in question are NaN instead.

    References:
        Van den Berg, Hasenclever, Tomczak, Welling, "Sylvester Normalizing Flows for Variational
        Inference", 2018, theorem 1 and equation 13.

    Example:
        >>> from flowkit_core.specs import ChosenColumns
        >>> arrays = {"outer": jnp.ones((1, 1)), "inner": jnp.ones((1, 1)), "bias": jnp.zeros(1)}
        >>> flow = Sylvester(SylvesterSpec(2, 1, ChosenColumns((1,))), arrays)
        >>> x, log_det = flow.forward_and_log_det(jnp.array([3.0, 0.0]))
        >>> x.tolist(), round(log_det.item(), 3)
        ([3.0, 0.0], 0.885)
    """

    leaf_names = ("reflections", "outer", "inner", "bias")
    static_names = ("spec",)

    spec: SylvesterSpec
    reflections: Array | None
    outer: Array
    inner: Array
    bias: Array
    context_dim = 0

    def __init__(self, spec: SylvesterSpec, arrays: Mapping[str, Array]) -> None:
        names = [array.name for array in spec.arrays()]
        if set(names) != set(arrays):
            raise ValueError(f"arrays: expected the names {names}, got {sorted(arrays)}")
        self.spec = spec
        for name in self.leaf_names:
            setattr(self, name, arrays.get(name))

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return self.spec.input_dim

    @property
    def _activation(self) -> ResidualActivation:
        return RESIDUAL_ACTIVATIONS[self.spec.activation]

    @property
    def iterative_inverse(self) -> bool:
        """Whether ``flow.inv(x)`` iterates."""
        return self._activation.iterative

    def _factors(self) -> tuple[Array, Array, Array, Array]:
        """Q (D, M), R1 and R2 (M, M), and the gains, the diagonal of their product."""
        spec = self.spec
        columns = orthonormal_columns(
            spec.columns, self.inner.dtype, spec.input_dim, spec.rank, self.reflections
        )
        factor, gain = invertible(jnp.diagonal(self.outer) * jnp.diagonal(self.inner))
        return columns, jnp.triu(self.outer) * factor, jnp.triu(self.inner), gain

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        columns, outer, inner, gain = self._factors()
        h, slope = self._activation.bend(apply(apply(columns, inner), z) + self.bias)
        return z + apply(apply(outer.T, columns), h), jnp.log1p(gain * slope).sum(-1)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        columns, outer, inner, gain = self._factors()
        v = apply(apply(columns, inner), x) + self.bias
        y = self._substitute_back(apply(outer.T, inner), gain, v)
        h, slope = self._activation.bend(y)
        return x - apply(apply(outer.T, columns), h), -jnp.log1p(gain * slope).sum(-1)

    def _substitute_back(self, matrix: Array, gain: Array, v: Array) -> Array:
        """The y with ``y + matrix h(y) = v``, (..., M): the last number depends on itself alone."""
        v, matrix, gain = alike((v, matrix, gain))

        def last_unknown(v: Array, row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            i, column, own_gain = row
            right = lax.dynamic_index_in_dim(v, i, axis=-1, keepdims=False)
            y = self._activation.solve(own_gain, right, self.spec.max_iterations)
            h, _ = self._activation.bend(y)
            return v - h[..., None] * column, y

        rows = (jnp.arange(self.spec.rank), matrix.T, gain)
        _, found = lax.scan(last_unknown, v, rows, reverse=True)
        return jnp.moveaxis(found, 0, -1)

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        # J^T v = r, r = score - grad log |det J|, by Woodbury's identity: v = r - Q R2^T s with
        # (I + D (R2 R1)^T) s = D R1^T Q^T r, a lower triangular system of M equations.
        columns, outer, inner, gain = self._factors()
        h, slope = self._activation.bend(apply(apply(columns, inner), z) + self.bias)
        bent = gain * self._activation.curvature(h, slope) / (1 + gain * slope)
        rest = apply(columns.T, score) - apply(inner.T, bent)
        right = slope * apply(outer.T, rest)
        matrix = apply(inner, outer.T)
        lower = jnp.eye(self.spec.rank, dtype=z.dtype) + slope[..., :, None] * matrix
        solved = lax.linalg.triangular_solve(lower, right[..., None], left_side=True, lower=True)
        return score - apply(columns, apply(inner.T, bent + solved[..., 0]))
