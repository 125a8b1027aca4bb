"""Bases with several modes: mixtures of diagonal Normals."""

from torch import nn
from torch.distributions import Distribution

from flowkit_core.bases import MixtureBaseSpec
from pyro_flowkit.bases.base import Base
from pyro_flowkit.bases.normal_mixture import NormalMixture


def mixture_base(input_dim: int, *, num_components: int = 4, seed: int = 0) -> "MixtureBase":
    """Base of K diagonal Normals, whose means, scales and weights are learnt.

    ``p(z) = sum_k softmax(logits)_k prod_i N(z_i; locs_ki, exp(log_scales_ki))``. A flow is
    continuous and cannot tear one mode into two without a bridge; this base has several.

    Shapes: event (D,); parameters locs and log_scales (K, D), logits (K,).

    Cost: O(K D) per draw, its score and its gradient, and O(K D^2) for the gradient of the weights.

    Stability: draws are differentiable by all parameters, without bias. The variance of the
    gradient by the weights grows as exp(d^2 / 8) for components d standard deviations apart:
    between modes far apart mass hardly moves any more, so weights settle while components overlap.
    Half of the starting variance lies between the components.

    Args:
        input_dim: number of coordinates D.
        num_components: K; more than there are modes does no harm.
        seed: seed of the starting means, which are the same in both wings.

    Raises:
        ValueError, TypeError: for arguments out of range.

    References:
        Jankowiak, Karaletsos, "Pathwise Derivatives for Multivariate Distributions", 2019; Figurnov
        et al., "Implicit Reparameterization Gradients", 2018, section 4; Stimper et al.,
        "Resampling Base Distributions of Normalizing Flows", 2022 (bases of several modes).

    Example:
        >>> import torch
        >>> base = mixture_base(3, num_components=2)
        >>> base().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """
    return MixtureBase(MixtureBaseSpec(input_dim, num_components, seed))


class MixtureBase(Base):
    """What `mixture_base` returns."""

    locs: nn.Parameter
    log_scales: nn.Parameter
    logits: nn.Parameter

    def forward(self) -> Distribution:
        """The distribution as it is now; its draws are differentiable by every parameter."""
        return NormalMixture(self.locs, self.log_scales.exp(), self.logits, validate_args=False)
