"""Activation normalisation: a diagonal affine layer started from data."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from flowkit_core.numerics import CONSTANT_ROUNDING_ERRORS
from flowkit_core.specs import ActNormSpec
from numpyro_flowkit.transforms.base import Flow
from numpyro_flowkit.transforms.diagonal_affine import DiagonalAffine


class ActNorm(DiagonalAffine):
    """``x = exp(log_scale) * z + shift``, started so that the first batch is standardised.

    `start_from_data` (which `fit_density` calls) sets the mean and the standard deviation of each
    coordinate, over all batch axes, as shift and scale: on the base side the batch then has mean 0
    and standard deviation 1. Whether that has happened is part of the spec, so it survives copies,
    pickles and files, and it is static: under ``jit`` a flow that has not started is an error when
    the program is traced, never NaN when it runs.

    Shapes: z and x (..., D), log-determinants (...).

    Cost: D per point in either direction, exact; ``log |det| = sum(log_scale)``.

    Stability: a coordinate that is constant in the batch, as all are in a batch of one row, keeps
    the scale 1.

    Args:
        spec: ``ActNormSpec(input_dim, started=False)``.
        arrays: log_scale and shift.

    Raises:
        ValueError: when used before its first batch.

    References:
        Kingma, Dhariwal, "Glow", 2018, section 3.1.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import act_norm, start_from_data
        >>> x = jnp.array([[3.0], [7.0]])
        >>> flow = start_from_data(act_norm(1)(jax.random.key(0)), x)
        >>> flow.inv(x).tolist()
        [[-1.0], [1.0]]
    """

    spec: ActNormSpec

    @property
    def takes_statistics(self) -> bool:
        """True."""
        return True

    @property
    def awaits_data(self) -> bool:
        """Whether the first batch is still to come."""
        return not self.spec.started

    def _weight(self, name: str) -> Array:
        self.spec.check_started()
        return super()._weight(name)

    def _observe(
        self, x: Array, context: Array | None, *, replace: bool
    ) -> tuple[Flow, Array, Array]:
        if not (replace and self.awaits_data):
            return super()._observe(x, context, replace=replace)
        mean, deviation = mean_and_deviation(x)
        arrays = {"log_scale": jnp.log(deviation), "shift": mean}
        dtype = self.shift.dtype
        started = ActNorm(
            dataclasses.replace(self.spec, started=True),
            {name: array.astype(dtype) for name, array in arrays.items()},
        )
        return started._observe(x, context, replace=replace)


def mean_and_deviation(x: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each coordinate over all batch axes; 1 for constant ones.

    Args:
        x: (..., D), at least one row.
    """
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(0)
    mean = mean + (rows - mean).mean(0)  # what rounding has left of a long sum
    centred = rows - mean
    # In units of the largest, so that no square overflows or vanishes.
    peak = jnp.abs(centred).max(0)
    unit = jnp.where(peak > 0, peak, 1)
    deviation = peak * jnp.sqrt(jnp.square(centred / unit).mean(0))
    limits = jnp.finfo(x.dtype)
    rounding = CONSTANT_ROUNDING_ERRORS * limits.eps * jnp.abs(rows).max(0)
    return mean, jnp.where(deviation > jnp.maximum(rounding, limits.tiny), deviation, 1)
