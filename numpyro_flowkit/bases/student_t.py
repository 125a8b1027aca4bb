"""Bases with tails: independent Student-t distributions."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import gammaln
from numpyro.distributions.util import validate_sample

from flowkit_core.bases import MAX_DF, MIN_DF, StudentTBaseSpec
from numpyro_flowkit.bases.base import Base, BaseInit


def student_t_base(input_dim: int, *, df: float = 30.0) -> BaseInit:
    """Base of D independent Student-t variables, whose degrees of freedom are learnt.

    ``z_i ~ t(df_i)``, ``1 / df_i = 1 / 200 + (1 - 1 / 200) sigmoid(free_i)``, so 1 < df_i < 200.
    A flow whose scales are bounded cannot make tails heavier than its base's; this base has them.
    It starts near the Normal, since light tails train more smoothly.

    Shapes: event (D,); array free (D,).

    Stability: of a target with Normal tails an ELBO is finite only for df > 2; at df <= 2 draws
    have no variance. Log-densities, in nats, are finite for every finite z.

    Args:
        input_dim: number of coordinates D.
        df: degrees of freedom at the start, between 1 and 200.

    Returns:
        BaseInit: call it with a key, or give it to ``numpyro.param``, to get the base.

    Raises:
        ValueError, TypeError: for arguments out of range.

    References:
        Jaini et al., "Tails of Lipschitz Triangular Flows", 2020, theorem 4; Figurnov et al.,
        "Implicit Reparameterization Gradients", 2018 (draws differentiable by df).

    Example:
        >>> base = student_t_base(3)(jax.random.key(0))
        >>> base().log_prob(jnp.zeros((5, 3))).shape, base.df.round().tolist()
        ((5,), [30.0, 30.0, 30.0])
    """
    return BaseInit(StudentTBase, StudentTBaseSpec(input_dim, df))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class StudentTBase(Base):
    """What `student_t_base` leads to."""

    free: Array

    @property
    def input_dim(self) -> int:
        """Number of coordinates D."""
        return self.free.shape[-1]

    @property
    def df(self) -> Array:
        """Degrees of freedom (D,)."""
        lowest, highest = 1 / MAX_DF, 1 / MIN_DF
        return 1 / (lowest + (highest - lowest) * jax.nn.sigmoid(self.free))

    def __call__(self) -> dist.Distribution:
        """The distribution as it is now; its draws are differentiable by ``free``."""
        # The degrees of freedom lie between their bounds by construction.
        df = self.df
        zeros = jnp.zeros_like(df)  # numbers would become float64 where x64 is on
        return StudentT(df, zeros, jnp.ones_like(df), validate_args=False).to_event(1)


class StudentT(dist.StudentT):
    """Student-t distribution whose log-density is finite wherever its argument is.

    Drawn in the dtype of its parameters, as `StandardNormal` is.

    Example:
        >>> one = jnp.float32(1)
        >>> StudentT(3 * one, 0 * one, one).sample(jax.random.key(0), (2,)).dtype
        dtype('float32')
    """

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of shape ``sample_shape + batch``, differentiable by all parameters.

        References:
            Bailey, "Polar generation of random variates with the t-distribution", 1994.
        """
        # Bailey's polar method: Box and Muller's Normal number, stretched by a smooth function of
        # the degrees of freedom. A chi-squared number's derivative by them is an iteration instead,
        # which at thousands of latents took more time than the whole flow.
        radius_key, angle_key = jax.random.split(key)
        shape = sample_shape + self.batch_shape
        dtype = jnp.result_type(self.df)
        # Not zero, as one in eight million is in single precision: the stretch would be 0 / 0, and
        # its derivative has the square of what it divides by.
        half_square = jax.random.exponential(radius_key, shape, dtype)
        half_square = jnp.maximum(half_square, jnp.finfo(dtype).eps)
        angle = jax.random.uniform(angle_key, shape, dtype, maxval=2 * jnp.pi)
        normal = jnp.sqrt(2 * half_square) * jnp.cos(angle)
        growth = 2 * half_square / self.df
        t = normal * jnp.sqrt(jnp.expm1(growth) / growth)
        return self.loc + self.scale * t

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Log-density in nats."""
        df = self.df
        u = (value - self.loc) / (self.scale * jnp.sqrt(df))
        normaliser = (
            jnp.log(self.scale)
            + 0.5 * jnp.log(df * jnp.pi)
            + gammaln(0.5 * df)
            - gammaln(0.5 * (df + 1))
        )
        return -0.5 * (df + 1) * log1p_square(u) - normaliser


def log1p_square(u: Array) -> Array:
    """``log(1 + u^2)``, also where u^2 overflows."""
    small = jnp.abs(u) < 1
    # Each branch gets an argument at which its value and its gradient are finite.
    inside = jnp.where(small, u, 0)
    outside = jnp.where(small, 1, jnp.abs(u))
    large = 2 * jnp.log(outside) + jnp.log1p(jnp.square(1 / outside))
    return jnp.where(small, jnp.log1p(jnp.square(inside)), large)
