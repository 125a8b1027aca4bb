"""What lies inside the wrappers of distributions."""

from typing import Any

from pyro.distributions.torch_distribution import MaskedDistribution
from torch.distributions import Independent


def unwrapped(density: Any) -> Any:
    """The distribution inside ``to_event`` and ``mask``, which hand its draws on as they are."""
    while isinstance(density, Independent | MaskedDistribution):
        density = density.base_dist
    return density
