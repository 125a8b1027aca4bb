"""Distributions that flows make."""

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions.util import sum_rightmost, validate_sample

from numpyro_flowkit.build import FlowInit
from numpyro_flowkit.transforms import ConditionedFlow, Flow


class FlowDistribution(dist.TransformedDistribution):
    """The distribution of ``x = flow(z)``, ``z ~ base``.

    ``log p(x) = log p_base(z) + log |det dz/dx|``. A native TransformedDistribution and a pytree:
    it may be sampled in models and guides, expanded, passed to and returned from ``jit``.

    Shapes: event (D,), batch that of the base broadcast with the context's.

    Args:
        flow: a flow, or a flow with its context fixed.
        base: distribution of z; N(0, I) in the flow's dtype if None.
        context: (..., context_dim) of a conditional flow.
        validate_args: as in NumPyro.

    Cost: sampling one forward pass, scoring one inverse pass of the flow; scoring a sample drawn
    by ``sample_with_intermediates`` (as NumPyro's ELBOs do) none.

    Raises:
        TypeError: if ``flow`` is no flow, a recipe that was not called with a key included.
        ValueError: if a context is missing, superfluous or of another length.

    Example:
        >>> from numpyro_flowkit import maf
        >>> d = FlowDistribution(maf(2)(jax.random.key(0)))
        >>> x = d.sample(jax.random.key(1), (5,))
        >>> d.log_prob(x).shape
        (5,)
    """

    def __init__(
        self,
        flow: Flow | ConditionedFlow,
        base: dist.Distribution | None = None,
        *,
        context: Array | None = None,
        validate_args: bool | None = None,
    ) -> None:
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

    def log_prob(self, value: Array, intermediates: list[Any] | None = None) -> Array:
        """Log-density of ``value``, (..., D); one inverse pass, none with intermediates."""
        if jnp.size(value) == 0:  # NumPyro's checks and sums divide by the number of rows
            _, log_det = self.flow.inverse_and_log_det(value)
            return jnp.zeros(jnp.broadcast_shapes(log_det.shape, self.batch_shape), log_det.dtype)
        return self._log_prob(value, intermediates)

    @validate_sample
    def _log_prob(self, value: Array, intermediates: list[Any] | None) -> Array:
        if intermediates is not None:
            return super().log_prob(value, intermediates)
        z, log_det = self.flow.inverse_and_log_det(value)
        inner = self.base_dist
        if len(self.transforms) > 1:
            inner = dist.TransformedDistribution(inner, self.transforms[:-1])
        base_log_prob = inner.log_prob(z)
        return sum_rightmost(base_log_prob, jnp.ndim(base_log_prob) - jnp.ndim(log_det)) + log_det


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
        return self.loc + self.scale * jax.random.normal(key, shape, jnp.result_type(self.loc))


def standard_normal(flow: Flow | ConditionedFlow) -> dist.Distribution:
    """N(0, I) of the flow's dimension, in its dtype."""
    leaves = jax.tree.leaves(flow)
    zeros = jnp.zeros(flow.input_dim, jnp.result_type(*leaves) if leaves else None)
    return StandardNormal(zeros, jnp.ones_like(zeros)).to_event(1)
