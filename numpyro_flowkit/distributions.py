"""Distributions that flows make."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array, lax
from numpyro.distributions.util import validate_sample

from flowkit_core import checks
from numpyro_flowkit.build import FlowInit
from numpyro_flowkit.native.materialised import materialised
from numpyro_flowkit.transforms import ConditionedFlow, Flow
from numpyro_flowkit.transforms.parts import sum_last


class FlowDistribution(dist.TransformedDistribution):
    """The distribution of ``x = flow(z)``, ``z ~ base``.

    ``log p(x) = log p_base(z) + log |det dz/dx|``. A native TransformedDistribution and a pytree:
    it may be sampled in models and guides, expanded, passed to and returned from ``jit``.

    With ``path_gradient=True`` the log-density of a sample x that was drawn by
    ``sample_with_intermediates`` (as NumPyro's ELBOs do) has the gradient
    ``(d log q / dx) (dx / d weights)``. In an ELBO that is unbiased, since the part left out has
    mean zero, and its variance vanishes where q is the posterior; far from there it can be the
    larger one. In bounds of several weighted particles (`RenyiELBO`) leaving it out is a bias.

    Shapes: event that of the flow, (D,) or (channels, height, width), batch that of the base
    broadcast with the context's.

    Args:
        flow: a flow, or a flow with its context fixed.
        base: distribution of z; N(0, I) in the flow's dtype if None.
        context: (..., context_dim) of a conditional flow.
        path_gradient: give the log-density of this object's own draws the path gradient (sticking
            the landing): its derivative by the flow's weights is left out, so that only the way
            through the sample counts. The values stay what they are. Under a mask NumPyro hands on
            no intermediates, and the gradient is the total one.
        validate_args: as in NumPyro.

    Cost: sampling one forward pass, scoring one inverse pass of the flow; scoring a sample drawn
    by ``sample_with_intermediates`` none. Path gradients push a score through the flow beside the
    sample (see `Flow.forward_and_score`).

    Raises:
        TypeError: if ``flow`` is no flow, a recipe that was not called with a key included.
        ValueError: if a context is missing, superfluous or of another length.

    References:
        Roeder, Wu, Duvenaud, "Sticking the Landing", 2017, equation 8.

    Example:
        >>> from numpyro_flowkit import maf
        >>> d = FlowDistribution(maf(2)(jax.random.key(0)))
        >>> x = d.sample(jax.random.key(1), (5,))
        >>> d.log_prob(x).shape
        (5,)
    """

    pytree_aux_fields = ("path_gradient",)

    def __init__(
        self,
        flow: Flow | ConditionedFlow,
        base: dist.Distribution | None = None,
        *,
        context: Array | None = None,
        path_gradient: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        self.path_gradient = checks.boolean("path_gradient", path_gradient)
        if isinstance(flow, FlowInit):
            raise TypeError(
                "flow: expected a flow, got a FlowInit; call it with a key, flow(rng_key), or "
                'register it with numpyro.param("flow", flow)'
            )
        if not isinstance(flow, Flow | ConditionedFlow):
            raise TypeError(f"flow: expected a flow, got {type(flow).__name__}")
        transform = flow
        if isinstance(flow, Flow):
            checked = flow.check_context(context)
            transform = flow if checked is None else flow.condition(checked)
        elif context is not None:
            raise ValueError("context: this flow's context is fixed already, got another one")
        if base is None:
            base = standard_normal(flow)
        super().__init__(base, transform, validate_args=validate_args)

    @property
    def flow(self) -> Flow | ConditionedFlow:
        """The flow, with its context if it has one."""
        flow: Flow | ConditionedFlow = self.transforms[-1]
        return flow

    @property
    def _base(self) -> dist.Distribution:
        """Distribution of the flow's argument; a base that is transformed itself is taken apart."""
        if len(self.transforms) == 1:
            return self.base_dist
        return dist.TransformedDistribution(self.base_dist, self.transforms[:-1])

    def sample_with_intermediates(
        self, key: Array, sample_shape: tuple[int, ...] = ()
    ) -> tuple[Array, list[Any]]:
        """A sample and what makes scoring it free."""
        if not self.path_gradient:
            drawn: tuple[Array, list[Any]] = super().sample_with_intermediates(key, sample_shape)
            return drawn
        z = self._base.sample(key, sample_shape)
        x, log_det, score = self.flow.forward_and_score(z, base_score(self._base, z))
        return x, [z, log_det, score]

    def log_prob(self, value: Array, intermediates: list[Any] | None = None) -> Array:
        """Log-density of ``value``, (..., *event); one inverse pass, none with intermediates."""
        if jnp.size(value) == 0:  # NumPyro's checks and sums divide by the number of rows
            _, log_det = self.flow.inverse_and_log_det(value)
            return jnp.zeros(jnp.broadcast_shapes(log_det.shape, self.batch_shape), log_det.dtype)
        return self._log_prob(value, intermediates)

    @validate_sample
    def _log_prob(self, value: Array, intermediates: list[Any] | None) -> Array:
        rank = len(self.flow.event_shape)
        if intermediates is not None and self.path_gradient:
            z, log_det, score = lax.stop_gradient(intermediates)
            log_prob = lax.stop_gradient(base_log_prob(self._base, z, rank) - log_det)
            # The bracket is zero; its gradient is that of the sample.
            return log_prob + sum_last(score * (value - lax.stop_gradient(value)), rank)
        if intermediates is not None:
            return super().log_prob(value, intermediates)
        z, log_det = self.flow.inverse_and_log_det(value)
        return base_log_prob(self._base, z, rank) + log_det


def base_log_prob(base: dist.Distribution, z: Array, rank: int) -> Array:
    """Log-density of z under a base that may have single numbers as events.

    Events of z have ``rank`` axes: 1 for vectors (..., D), 3 for images.
    """
    return sum_last(base.log_prob(z), rank - base.event_dim)


def base_score(base: dist.Distribution, z: Array) -> Array:
    """``d log p(z) / dz`` of a base at its own draws; nothing differentiates through it."""
    base, z = lax.stop_gradient((base, z))
    return jax.grad(lambda at: base.log_prob(at).sum())(z)


class StandardNormal(dist.Normal):
    """N(0, 1) of each coordinate, drawn in the dtype of its parameters.

    NumPyro's Normal draws float64 whenever JAX's x64 mode is on, so a float32 flow would give
    float64 samples.

    Example:
        >>> zeros = jnp.zeros(2, "float32")
        >>> StandardNormal(zeros, zeros + 1).sample(jax.random.key(0)).dtype
        dtype('float32')
    """

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of shape ``sample_shape + batch_shape``."""
        shape = sample_shape + self.batch_shape
        z = materialised(jax.random.normal(key, shape, jnp.result_type(self.loc)))
        return self.loc + self.scale * z


def standard_normal(flow: Flow | ConditionedFlow) -> dist.Distribution:
    """N(0, I) of the flow's event shape, in its dtype."""
    leaves = jax.tree.leaves(flow)
    zeros = jnp.zeros(flow.event_shape, jnp.result_type(*leaves) if leaves else None)
    return StandardNormal(zeros, jnp.ones_like(zeros)).to_event(len(flow.event_shape))
