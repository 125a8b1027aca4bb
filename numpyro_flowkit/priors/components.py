"""Mixture of the distributions in a batch."""

from typing import Any

import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

from numpyro_flowkit.bases.normal_mixture import NormalMixture
from numpyro_flowkit.priors.full_normal_mixture import FullNormalMixture
from numpyro_flowkit.surgery.gaussian_pairs import DiagonalPairs, gaussian_params


class ComponentMixture(dist.MixtureSameFamily):
    """``p(z) = sum_k w_k p_k(z)`` of any components; a draw takes one from each and keeps one.

    Drawn in the dtype of its weights: NumPyro's own components draw float64 whenever JAX's x64 mode
    is on.
    """

    def component_sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of every component, (*sample_shape, *batch, K, D)."""
        drawn: Array = super().component_sample(key, sample_shape)
        return drawn.astype(self.mixing_distribution.logits.dtype)


def mixture_of(components: dist.Distribution, logits: Array) -> dist.Distribution:
    """Mixture with weights ``softmax(logits)`` of components of batch shape (K,), event (D,).

    Normal components become a mixture that draws from those alone that were chosen.

    Args:
        components: the components.
        logits: (K,), log-weights up to a constant.

    Example:
        >>> import jax.numpy as jnp
        >>> normals = dist.Normal(jnp.zeros((4, 2)), 1.0).to_event(1)
        >>> type(mixture_of(normals, jnp.zeros(4))).__name__
        'NormalMixture'
    """
    gaussian = gaussian_params(components)
    if gaussian is not None:
        kind, (loc, scale) = gaussian
        mixture_class = NormalMixture if kind is DiagonalPairs else FullNormalMixture
        return mixture_class(loc, scale, logits)
    return ComponentMixture(dist.Categorical(logits=logits), components)


def check_components(components: object, num_components: int) -> dist.Distribution:
    """Return what an encoder gave if it is a distribution of vectors for each pseudo-input.

    Raises:
        TypeError: if it is no distribution.
        ValueError: if it has other shapes, or a support that depends on its parameters.
    """
    if not isinstance(components, dist.Distribution):
        raise TypeError(
            "encoder: expected it to return a distribution, such as "
            f"Normal(loc, scale).to_event(1), got {type(components).__name__}"
        )
    batch, event = components.batch_shape, components.event_shape
    if batch != (num_components,) or len(event) != 1:
        hint = "; to_event(1) makes coordinates an event" if len(batch) == 2 and not event else ""
        raise ValueError(
            f"encoder: expected a distribution of batch shape ({num_components},), one for each "
            f"pseudo-input, and event shape (D,), got batch shape {batch} and event shape "
            f"{event}{hint}"
        )
    support: Any = components.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if not isinstance(support, constraints.ParameterFreeConstraint):
        raise ValueError(
            "encoder: expected distributions that all have one support, got "
            f"{type(components).__name__} with a support of its own for each"
        )
    return components
