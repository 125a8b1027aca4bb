"""Pictures of flows and densities of the plane; `flowkit_core.plots` draws them."""

import os
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray
from numpyro.distributions import Distribution

from flowkit_core import plots
from numpyro_flowkit.transforms import ConditionedFlow, Flow


def warped_grid(
    flow: Flow | ConditionedFlow,
    *,
    extent: float = 3.0,
    num_lines: int = 13,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """A square grid of the base, and where a flow of the plane takes it.

    See `flowkit_core.plots.warped_grid` for what the picture shows.

    Args:
        flow: of two coordinates; one with a context as ``flow.condition(context)``, context
            (context_dim,).
        extent: half the side of the square, in standard deviations of N(0, I).
        num_lines: in each direction.
        path: also write the picture there.

    Returns:
        A matplotlib figure.

    Cost: one evaluation of ``flow(z)`` at some 7000 points.

    Raises:
        ImportError: without matplotlib.
        TypeError: if ``flow`` is no flow, a recipe that was not called with a key included.
        ValueError: for a flow of another number of coordinates, or a batch of flows or contexts.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import realnvp
        >>> flow = realnvp(2, num_layers=2, hidden_dims=(8,))(jax.random.key(0))
        >>> len(warped_grid(flow).axes)
        2
    """
    if not isinstance(flow, Flow | ConditionedFlow):
        raise TypeError(f"flow: expected a flow, got {type(flow).__name__}")
    if flow.input_dim != 2:
        raise ValueError(f"flow: expected one of 2 coordinates, got {flow.input_dim}")

    def transform(points: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(flow(jnp.asarray(points)))

    return plots.warped_grid(transform, extent=extent, num_lines=num_lines, path=path)


def density_with_samples(
    distribution: Distribution,
    samples: ArrayLike,
    *,
    labels: tuple[str, str] = ("x[0]", "x[1]"),
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Regions of 50 and 95 % of a density of the plane, and samples on them.

    See `flowkit_core.plots.density_with_samples` for what the picture shows.

    Args:
        distribution: of event shape (2,), such as a `FlowDistribution`.
        samples: such as data that it was fitted to, (n, 2).
        labels: names of the two coordinates.
        path: also write the picture there.

    Returns:
        A matplotlib figure.

    Cost: one call of ``log_prob``, for 25 600 points and the samples.

    Raises:
        ImportError: without matplotlib.
        TypeError: if ``distribution`` is none.
        ValueError: for other shapes, samples that are not finite, or a log-density that is NaN.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import FlowDistribution, maf
        >>> density = FlowDistribution(maf(2, num_layers=2, hidden_dims=(8,))(jax.random.key(0)))
        >>> draws = jax.random.normal(jax.random.key(1), (100, 2))
        >>> density_with_samples(density, draws).axes[0].get_xlabel()
        'x[0]'
    """
    if not isinstance(distribution, Distribution):
        raise TypeError(f"distribution: expected one, got {type(distribution).__name__}")
    if distribution.batch_shape + distribution.event_shape != (2,):
        raise ValueError(
            "distribution: expected batch shape () and event shape (2,), got "
            f"{distribution.batch_shape} and {distribution.event_shape}"
        )
    shown: Array = jnp.asarray(samples)

    def log_density(points: NDArray[np.float64]) -> NDArray[Any]:
        return np.asarray(distribution.log_prob(jnp.asarray(points, shown.dtype)))

    return plots.density_with_samples(log_density, np.asarray(shown), labels=labels, path=path)
