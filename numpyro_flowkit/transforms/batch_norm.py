"""Batch normalisation as an invertible layer."""

import jax.numpy as jnp
from jax import Array, lax

from flowkit_core.specs import BatchNormSpec
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.linear import Linear


class BatchNorm(Linear):
    """``x = mean + exp(log_variance / 2) * (exp(log_scale) * z + shift)``.

    Evaluation, which is all that a flow itself does: mean and log_variance are constants, the
    running averages of what training has seen. Scoring and sampling are each other's exact inverse,
    and the density of a point does not depend on the other points of its batch.

    Training, by `inverse_with_batch_statistics` alone, which `fit_density` uses for its loss: the
    batch itself is normalised by its own mean and variance (gradients go through both), which then
    enter the running averages of the flow that the function returns. They are leaves whose gradient
    is zero. `set_batch_statistics` replaces them by the statistics of a whole data set, with which
    MAF's authors evaluate.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: D per point in either direction, exact;
    ``log |det| = sum(log_scale + log_variance / 2)``.

    Stability: ``eps`` is added to every variance measured, so a constant coordinate is scaled by
    ``sqrt(eps)``, not by 0.

    Args:
        spec: ``BatchNormSpec(input_dim, momentum=0.1, eps=1e-5)``.
        arrays: log_scale and shift, which are trained; mean and log_variance, which are measured.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.7;
        Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow", 2017, and its published code.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import batch_norm, set_batch_statistics
        >>> x = jnp.array([[3.0], [7.0]])
        >>> flow = set_batch_statistics(batch_norm(1)(jax.random.key(0)), x)
        >>> [round(z, 3) for z in flow.inv(jnp.array([[3.0], [5.0], [7.0]]))[:, 0].tolist()]
        [-1.0, 0.0, 1.0]
    """

    leaf_names = ("log_scale", "shift", "mean", "log_variance")

    spec: BatchNormSpec
    log_scale: Array
    mean: Array
    log_variance: Array

    @property
    def takes_statistics(self) -> bool:
        """True."""
        return True

    def _weight(self, name: str) -> Array:
        weight = super()._weight(name)
        return lax.stop_gradient(weight) if name in self.spec.MEASURED else weight

    def _log_diagonal(self) -> Array:
        return self._weight("log_scale") + self._weight("log_variance") / 2

    def _offset(self) -> Array:
        deviation = jnp.exp(self._weight("log_variance") / 2)
        return self._weight("mean") + deviation * self._weight("shift")

    def _multiply(self, z: Array) -> Array:
        return z * jnp.exp(self._log_diagonal())

    def _solve(self, x: Array) -> Array:
        return x * jnp.exp(-self._log_diagonal())

    def _solve_transposed(self, score: Array) -> Array:
        return score * jnp.exp(-self._log_diagonal())

    def _observe(
        self, x: Array, context: Array | None, *, replace: bool
    ) -> tuple[Flow, Array, Array]:
        rows = x.reshape(-1, x.shape[-1])
        self.spec.check_rows(len(rows))
        mean = rows.mean(0)
        variance = jnp.square(rows - mean).mean(0) + self.spec.eps
        observed = self._average(mean, variance, 1.0 if replace else self.spec.momentum)
        log_scale = self._weight("log_scale")
        z = ((x - mean) * lax.rsqrt(variance) - self._weight("shift")) * jnp.exp(-log_scale)
        log_det = -(log_scale + jnp.log(variance) / 2).sum()
        return observed, z, jnp.broadcast_to(log_det, x.shape[:-1]).astype(x.dtype)

    def _average(self, mean: Array, variance: Array, share: float) -> "BatchNorm":
        """The layer whose running averages statistics have entered, unless they are not finite."""
        old = {name: getattr(self, name) for name in self.leaf_names}
        usable = jnp.isfinite(mean).all() & jnp.isfinite(variance).all()
        new = {
            "mean": (1 - share) * self.mean + share * mean,
            "log_variance": jnp.log((1 - share) * jnp.exp(self.log_variance) + share * variance),
        }
        kept = {
            name: lax.stop_gradient(jnp.where(usable, array, old[name]).astype(old[name].dtype))
            for name, array in new.items()
        }
        return BatchNorm(self.spec, {**old, **kept})
