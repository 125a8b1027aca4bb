"""Planar layer."""

import jax.numpy as jnp
from jax import Array, lax

from flowkit_core import checks
from flowkit_core.specs import PlanarSpec
from flowkit_core.specs.residual import MAX_ITERATIONS, RESIDUAL_ACTIVATIONS
from numpyro_flowkit.conditioners.foreign import as_conditioner
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.law_params import ConditionerLike
from numpyro_flowkit.transforms.residual_activations import RESIDUAL_ACTIVATIONS as ACTIVATIONS
from numpyro_flowkit.transforms.residual_activations import invertible


class Planar(Flow):
    """``x = z + u h(w . z + b)``: points move along u, by how far they are along w.

    ``log |det| = log(1 + h'(w . z + b) w . u)``. The u applied is ``direction`` times a factor
    that keeps ``w . u`` above -0.99 (`residual_activations.invertible`); at ``direction = 0`` the
    layer is the identity. With a context, a network adds to weight, bias and direction.

    Shapes: z and x (..., D), context (..., context_dim), log-determinants (...). The conditioner
    maps (..., 0) and the context to (..., 2 D + 1): what is added to w, b and u.

    Args:
        weight: w, (D,).
        bias: b, (1,).
        direction: u before the constraint, (D,).
        activation: h, "tanh" or "leaky_relu".
        conditioner: an MLP, or any pytree as above; None without a context.
        context_dim: length of the context the conditioner takes.
        max_iterations: steps of Newton's method that the inverse may take.
        spec: the architecture as data; leave it out for a conditioner of your own.

    Cost: 2 D per point in either direction. The inverse finds one number per point by Newton's
    method (4 steps as a rule; "leaky_relu" in closed form), to rounding; its derivatives are
    implicit.

    Stability: the slope along w is at least 0.01, so log-determinants are finite whatever the
    weights; ``w = 0`` is a shift.

    Raises:
        ValueError, TypeError: for arrays that do not fit one another, or an unknown activation.
        InverseNotConverged: from the inverse, if ``max_iterations`` is too small; under ``jit`` the
            points in question are NaN instead.

    References:
        Rezende, Mohamed, "Variational Inference with Normalizing Flows", 2015, equations 10 to 12;
        path-gradient rule: Vaitl et al., "Fast and unified path gradient estimators", 2024.

    Example:
        >>> flow = Planar(jnp.array([1.0, 0.0]), jnp.zeros(1), jnp.array([0.0, 2.0]))
        >>> x = flow(jnp.array([[0.0, 5.0], [9.0, 5.0]]))
        >>> [[round(v, 3) for v in row] for row in x.tolist()]
        [[0.0, 5.0], [9.0, 7.0]]
    """

    leaf_names = ("weight", "bias", "direction", "conditioner")
    static_names = ("activation", "context_dim", "max_iterations", "spec")

    weight: Array
    bias: Array
    direction: Array
    conditioner: ConditionerLike | None

    def __init__(
        self,
        weight: Array,
        bias: Array,
        direction: Array,
        *,
        activation: str = "tanh",
        conditioner: ConditionerLike | None = None,
        context_dim: int = 0,
        max_iterations: int = MAX_ITERATIONS,
        spec: PlanarSpec | None = None,
    ) -> None:
        shapes = tuple(jnp.shape(a) for a in (weight, bias, direction))
        if len(shapes[0]) != 1 or shapes != (shapes[0], (1,), shapes[0]):
            raise ValueError(
                f"weight, bias, direction: expected shapes (D,), (1,), (D,), got {shapes}"
            )
        self.context_dim = checks.int_at_least("context_dim", context_dim, 0)
        if (conditioner is None) != (context_dim == 0):
            raise ValueError(
                "conditioner: expected one with a context and none without, got "
                f"{type(conditioner).__name__} with context_dim={context_dim}"
            )
        self.weight, self.bias, self.direction = weight, bias, direction
        self.conditioner = None if conditioner is None else as_conditioner(conditioner)
        self.activation = checks.choice("activation", activation, RESIDUAL_ACTIVATIONS)
        self.max_iterations = checks.positive_int("max_iterations", max_iterations)
        self.spec = spec

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return int(jnp.shape(self.weight)[-1])

    @property
    def iterative_inverse(self) -> bool:
        """Whether ``flow.inv(x)`` iterates."""
        return ACTIVATIONS[self.activation].iterative

    def _params(self, values: Array, context: Array | None) -> tuple[Array, Array, Array, Array]:
        """The w (..., D), b (..., 1), u (..., D) that are applied, and the gain w . u (..., 1)."""
        weight, bias, direction = self.weight, self.bias, self.direction
        if self.conditioner is not None:
            raw = self.conditioner(values[..., :0], context)
            added = lax.split(raw, (self.input_dim, 1, self.input_dim), axis=raw.ndim - 1)
            weight, bias, direction = weight + added[0], bias + added[1], direction + added[2]
        factor, gain = invertible((weight * direction).sum(-1, keepdims=True))
        return weight, bias, factor * direction, gain

    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]:
        weight, bias, direction, gain = self._params(z, context)
        h, slope = ACTIVATIONS[self.activation].bend(_along(z, weight) + bias)
        return z + h * direction, jnp.log1p(gain * slope).squeeze(-1)

    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]:
        # Along w: w . x + b = y + gain h(y) with y = w . z + b.
        weight, bias, direction, gain = self._params(x, context)
        activation = ACTIVATIONS[self.activation]
        y = activation.solve(gain, _along(x, weight) + bias, self.max_iterations)
        h, slope = activation.bend(y)
        return x - h * direction, -jnp.log1p(gain * slope).squeeze(-1)

    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        # J = I + u psi^T with psi = h' w, inverted by Sherman and Morrison; grad log |det J| =
        # gain h'' w / (1 + gain h').
        weight, bias, direction, gain = self._params(z, context)
        activation = ACTIVATIONS[self.activation]
        h, slope = activation.bend(_along(z, weight) + bias)
        total_slope = 1 + gain * slope
        rest = score - gain * activation.curvature(h, slope) / total_slope * weight
        return rest - slope * _along(rest, direction) / total_slope * weight


def _along(values: Array, vector: Array) -> Array:
    """``values . vector``, (..., 1), for a vector (D,) or one for each point (..., D)."""
    return (values * vector).sum(-1, keepdims=True)
