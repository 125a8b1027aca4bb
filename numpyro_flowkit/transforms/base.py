"""Flow: the base class of every trainable transform of this wing."""

from abc import abstractmethod
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowkit_core.specs import FlowSpec
from numpyro_flowkit.transforms.checks import broadcast_batch, floating, last_dim, last_dims
from numpyro_flowkit.transforms.evaluation import evaluated
from numpyro_flowkit.transforms.native import NativeTransform, Shape
from numpyro_flowkit.transforms.newton import raise_unless_found

if TYPE_CHECKING:
    from numpyro_flowkit.transforms.conditioned import ConditionedFlow


class Flow(NativeTransform):
    """An invertible map of real vectors or images, base z to data x, with weights as leaves.

    Every flow offers value and log-determinant in both directions in one call; ``flow(z)``,
    ``flow.inv(x)``, ``call_with_intermediates`` and ``log_abs_det_jacobian`` derive from them, so
    a flow is a native `numpyro.distributions.transforms.Transform`.

    Shapes: z and x (..., D) with any batch dimensions, also none and empty ones; context
    (..., context_dim), its batch dimensions broadcast against those of z and x; log-determinants
    (...), in nats. For a flow of images z and x are (..., channels, height, width). A flow whose
    leaves carry further leading dimensions (made by ``jax.vmap(init)(keys)``) is a batch of flows:
    its ``batch_shape`` broadcasts likewise.

    Subclasses set ``leaf_names`` and ``static_names``, which together name all of their state,
    implement the hooks with a leading underscore, whose arguments are checked, and give
    ``input_dim``, ``context_dim`` and, for images, ``event_shape``.

    Attributes:
        spec: the architecture as data; None if a user's own network or law is inside.
        input_dim: number of coordinates D.
        context_dim: length of the context; 0 for an unconditional flow.
    """

    spec: FlowSpec | None = None
    input_dim: int
    context_dim: int

    @property
    def event_shape(self) -> Shape:
        """Shape of one point: (D,), or (channels, height, width) of images."""
        return (self.input_dim,)

    @property
    def sequential_forward(self) -> bool:
        """Whether ``flow(z)`` goes coordinate by coordinate; the other direction is one pass."""
        return False

    @property
    def sequential_inverse(self) -> bool:
        """Whether ``flow.inv(x)`` goes coordinate by coordinate."""
        return False

    @property
    def iterative_inverse(self) -> bool:
        """Whether ``flow.inv(x)`` is found by Newton's method, within a budget of steps."""
        return False

    @property
    def batch_shape(self) -> Shape:
        """Leading dimensions of the weights beyond those of the spec; () for a single flow."""
        arrays = self.spec.arrays() if self.spec is not None else ()
        if not arrays:
            return ()
        shape = jnp.shape(jax.tree.leaves(self)[0])
        return shape[: len(shape) - len(arrays[0].shape)]

    @property
    def takes_statistics(self) -> bool:
        """Whether a layer inside takes its numbers from data (ActNorm, BatchNorm)."""
        return False

    @property
    def awaits_data(self) -> bool:
        """Whether an ActNorm inside waits for its first batch; see `start_from_data`."""
        return False

    @abstractmethod
    def _forward_and_log_det(self, z: Array, context: Array | None) -> tuple[Array, Array]: ...

    @abstractmethod
    def _inverse_and_log_det(self, x: Array, context: Array | None) -> tuple[Array, Array]: ...

    @abstractmethod
    def _push_score(self, z: Array, x: Array, score: Array, context: Array | None) -> Array:
        """``J^-T (score - grad_z log |det J|)``; nothing differentiates through it."""

    def _observe(
        self, x: Array, context: Array | None, *, replace: bool
    ) -> tuple["Flow", Array, Array]:
        """Map data to base by the statistics of x itself, where a layer takes any.

        Flows of flows override it, and the two properties that tell of such layers.

        Args:
            x: (..., D).
            context: (..., context_dim), or None.
            replace: whether the statistics are kept as they are, which starts an ActNorm, or enter
                running averages.

        Returns:
            A flow, that has taken the statistics in; z; ``log |det dz/dx|``.
        """
        return self, *self._inverse_and_log_det(x, context)

    def _forward_and_score(
        self, z: Array, score: Array, context: Array | None
    ) -> tuple[Array, Array, Array]:
        x, log_det = self._forward_and_log_det(z, context)
        # Path gradients treat the score as a constant, so its solvers need no derivative rules.
        frozen, *arguments = jax.tree.map(lax.stop_gradient, (self, z, x, score, context))
        return x, log_det, frozen._push_score(*arguments)

    def forward_and_log_det(self, z: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map base to data.

        Args:
            z: (..., D).
            context: (..., context_dim) for a conditional flow, else None.

        Returns:
            x of shape (..., D) and ``log |det dx/dz|`` of shape (...).

        Raises:
            ValueError: for a wrong shape, or a missing or superfluous context.
            TypeError: for values that are not floating.
        """
        values, context = self._checked("z", (z,), context)
        return evaluated(type(self)._forward_and_log_det, self, values, context)

    def inverse_and_log_det(self, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Map data to base.

        Returns:
            z of shape (..., D) and ``log |det dz/dx|`` of shape (...), the log-determinant of the
            inverse map: ``log p(x) = log p_base(z) + log_det``.

        Raises:
            ValueError, TypeError: as `forward_and_log_det`.
        """
        values, context = self._checked("x", (x,), context)
        found = evaluated(type(self)._inverse_and_log_det, self, values, context)
        if self.iterative_inverse:
            raise_unless_found(values[0], found[0], jax.tree.leaves((self, context)))
        return found

    def forward_and_score(
        self, z: Array, score: Array, context: Array | None = None
    ) -> tuple[Array, Array, Array]:
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
        if jnp.shape(score) != jnp.shape(z):
            raise ValueError(
                f"score: expected the shape of z, {jnp.shape(z)}, got {jnp.shape(score)}"
            )
        values, context = self._checked("z", (z, score), context)
        return evaluated(type(self)._forward_and_score, self, values, context)

    def condition(self, context: Array) -> "ConditionedFlow":
        """The native transform with the context fixed.

        The network runs when the transform is used, not here.

        Args:
            context: (..., context_dim).

        Raises:
            ValueError: if the flow takes no context, or one of another length.
            TypeError: if the context is not floating.
        """
        from numpyro_flowkit.transforms.conditioned import ConditionedFlow

        return ConditionedFlow(self, context)

    def named_arrays(self) -> dict[str, Array]:
        """All arrays under the names that both wings and checkpoints use.

        Raises:
            ValueError: if the flow holds a user's own part and thus has no spec.
        """
        if self.spec is None:
            raise ValueError(
                "named_arrays: this flow holds a network, law or transform of your own, so it has "
                "no spec that names its arrays; jax.tree.leaves(flow) lists them"
            )
        names = (array.name for array in self.spec.arrays())
        return dict(zip(names, jax.tree.leaves(self), strict=True))

    def forward_shape(self, shape: Shape) -> Shape:
        """Shape of x for a z of that shape: batch dimensions broadcast with the weights'."""
        last_dims("z", shape, self.event_shape)
        return (*jnp.broadcast_shapes(self._batch(shape), self.batch_shape), *self.event_shape)

    def inverse_shape(self, shape: Shape) -> Shape:
        """Shape of z for an x of that shape."""
        last_dims("x", shape, self.event_shape)
        return (*jnp.broadcast_shapes(self._batch(shape), self.batch_shape), *self.event_shape)

    def __repr__(self) -> str:
        count = sum(jnp.size(leaf) for leaf in jax.tree.leaves(self))
        summary = str(self.spec) if self.spec is not None else self._own_summary()
        return f"{summary}  # {count} parameters"

    def _own_summary(self) -> str:
        context = f", context_dim={self.context_dim}" if self.context_dim else ""
        size = f"input_dim={self.input_dim}"
        if len(self.event_shape) > 1:
            size = f"image_shape={self.event_shape}"
        return f"{type(self).__name__}({size}{context}, no spec)"

    def check_context(self, context: Array | None) -> Array | None:
        """Return the context as an array, or raise unless it is what this flow takes."""
        if self.context_dim == 0:
            if context is not None:
                raise ValueError("context: this flow takes none (context_dim=0), got one")
            return None
        if context is None:
            raise ValueError(
                f"context: this flow needs one of shape (..., {self.context_dim}), got none; "
                "pass context=..., or use flow.condition(context)"
            )
        context = floating("context", context)
        last_dim("context", context.shape, self.context_dim)
        return context

    def _batch(self, shape: Shape) -> Shape:
        """Batch dimensions of z or x."""
        return shape[: -len(self.event_shape)]

    def _checked(
        self, name: str, values: tuple[Array, ...], context: Array | None
    ) -> tuple[tuple[Array, ...], Array | None]:
        """Arrays of one full batch shape, and the context, whose batch broadcasts against it."""
        context = self.check_context(context)
        arrays = tuple(floating(name, value) for value in values)
        last_dims(name, arrays[0].shape, self.event_shape)
        batch = broadcast_batch(name, self._batch(arrays[0].shape), context, self.batch_shape)
        # One dtype for inputs and weights, so that every loop below carries what it started with.
        given = arrays if context is None else (*arrays, context)
        dtype = jnp.result_type(*given, *jax.tree.leaves(self))
        shape = (*batch, *self.event_shape)
        return tuple(jnp.broadcast_to(a, shape).astype(dtype) for a in arrays), context
