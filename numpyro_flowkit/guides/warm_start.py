"""Start a guide where the posterior is."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random

from flowkit_core import checks
from flowkit_core.warm_start import CHUNK, RADIUS, Gaussian, WarmStart, find_gaussian
from flowkit_core.warm_start.target import Floats
from numpyro_flowkit.guides.auto_flow import AutoFlow
from numpyro_flowkit.guides.layers import affine_layer
from numpyro_flowkit.guides.model_checks import check_start
from numpyro_flowkit.guides.sharding import SpreadArguments
from numpyro_flowkit.guides.start import started_params
from numpyro_flowkit.guides.target import Params, in_chunks, log_density
from numpyro_flowkit.spread import automatic
from numpyro_flowkit.transforms import Compose


def warm_start(
    guide: AutoFlow,
    *args: Any,
    rng_key: Array,
    method: str = "laplace",
    num_starts: int = 4,
    params: Params | None = None,
    **kwargs: Any,
) -> WarmStart:
    """Set a guide's frame to the location and scale of the posterior.

    Climbs the log-density by L-BFGS from ``num_starts`` points, takes the Gaussians at the top
    (inverse Hessian) and on the way (inverse Hessian as L-BFGS knows it), and keeps the one with
    the best ELBO, so a higher mode wins over a lower one, and a posterior without a mode (a funnel)
    gets a Gaussian from the way. The covariance is full up to 128 latents and diagonal above, where
    the ELBO of diagonal Gaussians is climbed, too, by Adam.
    The guide's last layers become that Gaussian; its flow stays what it is, the identity if it is
    new. Everything trained afterwards works in coordinates in which the posterior is about standard
    Normal, so latents of any scale train at one learning rate, also in SVI by hand::

        start = warm_start(guide, data, rng_key=key)
        svi.run(key, 5000, data, init_params=start.params)

    Cost: some hundred evaluations of the model's gradient for each start, and up to 30 Hessians;
    above 128 latents 8000 gradients, one at a time, instead of Hessians.

    Args:
        guide: the guide; it is called with the arguments first, if it is new.
        args: the model's arguments.
        rng_key: of the starts, of what the model draws, and of the guide's first weights.
        method: "laplace", or "pathfinder" to do without second derivatives.
        num_starts: the guide's own starting point and ``num_starts - 1`` from the cube (-2, 2)^D.
        params: the guide's and the model's parameters, if there are any yet.
        kwargs: the model's keyword arguments.

    Returns:
        A `WarmStart`; ``params`` are the parameters to go on from.

    Raises:
        ModelError: if the model has discrete or no latents, or no finite density at the start;
            the message names the site.
        TypeError: for another kind of guide.

    References:
        Zhang, Carpenter, Gelman, Vehtari, "Pathfinder", 2022; Tierney, Kadane, "Accurate
        Approximations for Posterior Moments", 1986 (Laplace).

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> from numpyro_flowkit import AutoIAF
        >>> def model():
        ...     x = numpyro.sample("x", dist.Normal(100.0, 0.01))
        ...     numpyro.sample("y", dist.Normal(x, 0.01), obs=100.02)
        >>> start = warm_start(AutoIAF(model), rng_key=random.key(0))
        >>> print(f"{start.gaussian.loc[0]:.2f} +- {start.gaussian.sds[0]:.4f}")
        100.01 +- 0.0071
    """
    if not isinstance(guide, AutoFlow):
        raise TypeError(f"guide: expected an AutoFlow, got {type(guide).__name__}")
    count = checks.positive_int("num_starts", num_starts)
    args, kwargs = automatic((args, kwargs))
    guide_key, *search_keys = random.split(rng_key, 4)
    params = started_params(guide.model, guide, args, kwargs, guide_key, params)
    check_start(guide.model, guide, args, kwargs)
    return find_start(
        guide.model, guide, params, args, kwargs, search_keys, method=method, num_starts=count
    )


def find_start(
    model: Callable[..., Any],
    guide: AutoFlow,
    params: Params,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    rng_keys: Sequence[Array],
    *,
    method: str,
    num_starts: int,
) -> WarmStart:
    """`warm_start` with settings and a model that are checked, and a key for each thing drawn."""
    start_key, model_key, seed_key = rng_keys
    first = np.asarray(guide._init_latent, np.float64)
    cube = random.uniform(start_key, (num_starts - 1, len(first)), minval=-RADIUS, maxval=RADIUS)
    arguments = SpreadArguments(args, kwargs)

    def density(latent: Array, arrays: list[Array]) -> Array:
        filled = arguments.filled(arrays)
        of_model = log_density(guide, *filled, rng_key=model_key, params=params, model=model)
        return of_model(latent)

    found = find_gaussian(
        _Target(density, arguments.arrays, guide._init_latent.dtype),
        [first, *np.asarray(cube, np.float64)],
        Gaussian(first, np.full(len(first), guide.init_scale)),
        method=method,
        seed=int(random.bits(seed_key)),
    )
    name = guide._param_name
    return dataclasses.replace(
        found, params={**params, name: with_frame(params[name], found.gaussian)}
    )


def with_frame(transform: Compose, gaussian: Gaussian) -> Compose:
    """A guide's transform with this Gaussian as its frame, and nothing in its affine layer."""
    flow = transform.layers[0]
    loc = jnp.asarray(gaussian.loc, transform.layers[-1].shift.dtype)
    scale = jnp.asarray(gaussian.scale, loc.dtype)
    zeros = jnp.zeros_like(loc)
    log_scale = jnp.log(scale if scale.ndim == 1 else jnp.diagonal(scale))
    lower = None if scale.ndim == 1 else jnp.tril(scale, -1)
    frame = affine_layer(loc, log_scale, lower, frozen=True)
    return Compose((flow, affine_layer(zeros, zeros, frozen=False), frame))


class _Target:
    """A model's log-density over packed unconstrained latents (`flowkit_core` Target)."""

    def __init__(
        self, density: Callable[[Array, list[Array]], Array], arrays: list[Array], dtype: Any
    ) -> None:
        self._arrays, self._dtype = arrays, dtype
        self.eps = float(jnp.finfo(dtype).eps)

        def values(points: Array, arrays: list[Array]) -> Array:
            return in_chunks(lambda point: density(point, arrays), points, CHUNK)

        self._values = jax.jit(values)
        self._value_and_gradient = jax.jit(jax.value_and_grad(density))
        self._hessian = jax.jit(jax.hessian(density))

    def log_densities(self, points: Floats) -> Floats:
        """Log-density of each row."""
        return np.asarray(self._values(self._own(points), self._arrays), np.float64)

    def value_and_gradient(self, point: Floats) -> tuple[float, Floats]:
        """Log-density of one point and its gradient."""
        value, gradient = self._value_and_gradient(self._own(point), self._arrays)
        return float(value), np.asarray(gradient, np.float64)

    def hessian(self, point: Floats) -> Floats:
        """Second derivatives at one point."""
        return np.asarray(self._hessian(self._own(point), self._arrays), np.float64)

    def _own(self, values: Floats) -> Array:
        return jnp.asarray(values, self._dtype)
