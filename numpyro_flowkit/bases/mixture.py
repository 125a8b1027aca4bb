"""Bases with several modes: mixtures of diagonal Normals."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from flowkit_core.bases import MixtureBaseSpec
from numpyro_flowkit.bases.base import Base, BaseInit
from numpyro_flowkit.bases.normal_mixture import NormalMixture


def mixture_base(input_dim: int, *, num_components: int = 4, seed: int = 0) -> BaseInit:
    """Base of K diagonal Normals, whose means, scales and weights are learnt.

    ``p(z) = sum_k softmax(logits)_k prod_i N(z_i; locs_ki, exp(log_scales_ki))``. A flow is
    continuous and cannot tear one mode into two without a bridge; this base has several.

    Shapes: event (D,); arrays locs and log_scales (K, D), logits (K,).

    Cost: O(K D) per draw, its score and its gradient, and O(K D^2) for the gradient of the weights.

    Stability: draws are differentiable by all parameters, without bias. The variance of the
    gradient by the weights grows as exp(d^2 / 8) for components d standard deviations apart:
    between modes far apart mass hardly moves any more, so weights settle while components overlap.
    Half of the starting variance lies between the components.

    Args:
        input_dim: number of coordinates D.
        num_components: K; more than there are modes does no harm.
        seed: seed of the starting means, which are the same in both wings.

    Returns:
        BaseInit: call it with a key, or give it to ``numpyro.param``, to get the base.

    Raises:
        ValueError, TypeError: for arguments out of range.

    References:
        Jankowiak, Karaletsos, "Pathwise Derivatives for Multivariate Distributions", 2019; Figurnov
        et al., "Implicit Reparameterization Gradients", 2018, section 4; Stimper et al.,
        "Resampling Base Distributions of Normalizing Flows", 2022 (bases of several modes).

    Example:
        >>> base = mixture_base(3, num_components=2)(jax.random.key(0))
        >>> base().log_prob(jnp.zeros((5, 3))).shape
        (5,)
    """
    return BaseInit(MixtureBase, MixtureBaseSpec(input_dim, num_components, seed))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class MixtureBase(Base):
    """What `mixture_base` leads to."""

    locs: Array
    log_scales: Array
    logits: Array

    @property
    def input_dim(self) -> int:
        """Number of coordinates D."""
        return self.locs.shape[-1]

    def __call__(self) -> dist.Distribution:
        """The distribution as it is now; its draws are differentiable by every array."""
        scales = jnp.exp(self.log_scales)
        return NormalMixture(self.locs, scales, self.logits, validate_args=False)
