"""Mixture of the distributions in a batch."""

from typing import Any

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from pyro_flowkit.bases.normal_mixture import NormalMixture
from pyro_flowkit.priors.full_normal_mixture import FullNormalMixture
from pyro_flowkit.surgery.gaussian_pairs import DiagonalPairs, gaussian_params
from pyro_flowkit.transforms.checks import tracing


class ComponentMixture(dist.MixtureSameFamily):
    """``p(z) = sum_k w_k p_k(z)`` of any components; a draw takes one from each and keeps one.

    Pyro's own has a support that no bijection is known for, so that neither automatic guides nor
    NUTS can have it as a prior; this one has its components'.
    """

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        """Where draws lie."""
        return self.component_distribution.support


def mixture_of(components: Distribution, logits: Tensor) -> TorchDistribution:
    """Mixture with weights ``softmax(logits)`` of components of batch shape (K,), event (D,).

    Normal components become a mixture that draws from those alone that were chosen.

    Args:
        components: the components.
        logits: (K,), log-weights up to a constant.

    Example:
        >>> import torch
        >>> normals = dist.Normal(torch.zeros(4, 2), 1.0).to_event(1)
        >>> type(mixture_of(normals, torch.zeros(4))).__name__
        'NormalMixture'
    """
    gaussian = gaussian_params(components)
    if gaussian is not None:
        kind, (loc, scale) = gaussian
        mixture_class = NormalMixture if kind is DiagonalPairs else FullNormalMixture
        return mixture_class(loc, scale, logits)
    mixture: TorchDistribution = ComponentMixture(dist.Categorical(logits=logits), components)
    return mixture


def check_components(components: object, num_components: int) -> Distribution:
    """Return what an encoder gave if it is a distribution of vectors for each pseudo-input.

    Raises:
        TypeError: if it is no distribution.
        ValueError: if it has other shapes, or a support that depends on its parameters.
    """
    if not isinstance(components, Distribution):
        raise TypeError(
            "encoder: expected it to return a distribution, such as "
            f"Normal(loc, scale).to_event(1), got {type(components).__name__}"
        )
    if tracing():
        return components
    batch, event = tuple(components.batch_shape), tuple(components.event_shape)
    if batch != (num_components,) or len(event) != 1:
        hint = "; to_event(1) makes coordinates an event" if len(batch) == 2 and not event else ""
        raise ValueError(
            f"encoder: expected a distribution of batch shape ({num_components},), one for each "
            f"pseudo-input, and event shape (D,), got batch shape {batch} and event shape "
            f"{event}{hint}"
        )
    support: Any = components.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if any(isinstance(bound, Tensor) and bound.dim() for bound in vars(support).values()):
        raise ValueError(
            "encoder: expected distributions that all have one support, got "
            f"{type(components).__name__} with a support of its own for each"
        )
    return components
