"""Mixture of Normals with full covariance, drawn from the components that were chosen."""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax
from numpyro.distributions import constraints

from numpyro_flowkit.bases.mixture_of_normals import MixtureOfNormals, check_logits, chosen

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class FullNormalMixture(MixtureOfNormals):
    """``p(z) = sum_k w_k N(z; m_k, L_k L_k^T)``, with ``w = softmax(logits)``.

    Shapes: locs (..., K, D), scale_trils (..., K, D, D), logits (..., K); event (D,), batch (...).

    Cost: O(K D^3) once and O(K D^2) per point scored, as K matrix products; O(D^2) per draw. (The
    mixture of NumPyro's `MultivariateNormal` draws from all K components to keep one.)

    Args:
        locs: means m.
        scale_trils: lower triangular factors L of the covariances, with a positive diagonal.
        logits: log-weights, up to a constant.
        validate_args: as in NumPyro.

    Raises:
        ValueError: if the shapes do not fit each other.

    Example:
        >>> factors = jnp.broadcast_to(jnp.eye(3), (2, 3, 3))
        >>> mixture = FullNormalMixture(jnp.zeros((2, 3)), factors, jnp.zeros(2))
        >>> mixture.sample(jax.random.key(0), (5,)).shape, mixture.variance.tolist()
        ((5, 3), [1.0, 1.0, 1.0])
    """

    arg_constraints = {
        "locs": constraints.real_matrix,
        "scale_trils": constraints.independent(constraints.lower_cholesky, 1),
        "logits": constraints.real_vector,
    }
    pytree_data_fields = ("locs", "scale_trils", "logits")

    def __init__(
        self, locs: Array, scale_trils: Array, logits: Array, *, validate_args: bool | None = None
    ) -> None:
        shape = jnp.shape(locs)
        if len(shape) < 2 or jnp.shape(scale_trils)[-3:] != (*shape[-2:], shape[-1]):
            raise ValueError(
                "locs and scale_trils: expected shapes (..., K, D) and (..., K, D, D), got "
                f"{shape} and {jnp.shape(scale_trils)}"
            )
        check_logits(locs, logits)
        batch = jnp.broadcast_shapes(shape[:-2], scale_trils.shape[:-3], logits.shape[:-1])
        self.locs = jnp.broadcast_to(locs, batch + locs.shape[-2:])
        self.scale_trils = jnp.broadcast_to(scale_trils, batch + scale_trils.shape[-3:])
        self.logits = jnp.broadcast_to(logits, batch + logits.shape[-1:])
        super().__init__(batch, shape[-1:], validate_args=validate_args)

    def _within(self) -> Array:
        return jnp.square(self.scale_trils).sum(-1)

    def _each(self, value: Array) -> Array:
        identity = jnp.eye(self.event_shape[0], dtype=self.locs.dtype)
        # One small inverse for each component, whatever the number of points.
        inverse = lax.linalg.triangular_solve(
            self.scale_trils,
            jnp.broadcast_to(identity, self.scale_trils.shape),
            left_side=True,
            lower=True,
        )
        e = jnp.einsum("...kij,...kj->...ki", inverse, value[..., None, :] - self.locs)
        diagonal = jnp.diagonal(self.scale_trils, axis1=-2, axis2=-1)
        return -0.5 * jnp.square(e).sum(-1) - (jnp.log(diagonal) + _LOG_SQRT_2PI).sum(-1)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of shape ``sample_shape + batch + (D,)``, without a gradient."""
        which_key, noise_key = jax.random.split(key)
        batch = sample_shape + self.batch_shape
        which = jax.random.categorical(which_key, self.logits, shape=batch)
        noise = jax.random.normal(noise_key, batch + self.event_shape, self.locs.dtype)
        factors = chosen(self.scale_trils, which, 2)
        z = chosen(self.locs, which, 1) + (factors @ noise[..., None])[..., 0]
        return lax.stop_gradient(z)
