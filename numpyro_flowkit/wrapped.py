"""What lies inside the wrappers of distributions."""

from typing import Any

from numpyro.distributions import ExpandedDistribution, Independent, MaskedDistribution

_WRAPPERS = (ExpandedDistribution, Independent, MaskedDistribution)


def unwrapped(density: Any) -> Any:
    """The distribution inside ``expand``, ``to_event`` and ``mask``."""
    while isinstance(density, _WRAPPERS):
        density = density.base_dist
    return density
