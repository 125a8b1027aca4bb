"""The ELBO of a guide, as what `fit_guide` climbs."""

import copy
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array, random
from jax.sharding import NamedSharding
from numpyro.distributions import biject_to
from numpyro.infer import Trace_ELBO

from numpyro_flowkit.guides.auto_flow import AutoFlow
from numpyro_flowkit.guides.sharding import SpreadArguments, spread_rows
from numpyro_flowkit.guides.start import param_sites
from numpyro_flowkit.guides.target import Params, log_density


class Objective(Protocol):
    """ELBO terms of particles as a function of parameters that may be moved freely.

    Attributes:
        arrays: arguments of the model that lie on several devices.
    """

    arrays: list[Array]

    def constrain(self, params: Params) -> Params:
        """Parameters in their own coordinates."""

    def unconstrain(self, params: Params) -> Params:
        """Parameters that an optimiser may move freely."""

    def elbos(
        self,
        params: Params,
        key: Array,
        num_particles: int,
        *,
        path_gradient: bool,
        arrays: list[Array],
    ) -> Array:
        """ELBO terms of that many particles in one pass, (num_particles,).

        Args:
            params: parameters in the coordinates of `unconstrain`.
            key: of everything random.
            num_particles: draws of the guide.
            path_gradient: whether it is this gradient that will be taken.
            arrays: in the place of those of that name, as arguments of a compiled program.
        """


class _Parameters:
    """Of a guide and a model, with the bijections that their constraints ask for."""

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Any,
        params: Params,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        particle_sharding: NamedSharding | None = None,
    ) -> None:
        self._model, self._guide = model, guide
        self._arguments = SpreadArguments(args, kwargs)
        self._particles = particle_sharding
        self.arrays = self._arguments.arrays
        sites = param_sites(model, guide, args, kwargs, random.key(0), params)
        self._transforms = {
            site["name"]: biject_to(site["kwargs"]["constraint"])
            for site in sites
            if "constraint" in site["kwargs"]
        }

    def constrain(self, params: Params) -> Params:
        """Parameters in their own coordinates."""
        return {name: self._transforms[name](value) if name in self._transforms else value
                for name, value in params.items()}  # fmt: skip

    def unconstrain(self, params: Params) -> Params:
        """Parameters that an optimiser may move freely."""
        free = {name: self._transforms[name].inv(value) if name in self._transforms else value
                for name, value in params.items()}  # fmt: skip
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), free)


class FlowObjective(_Parameters):
    """Of a flow guide: the flow is drawn from directly, all particles in one batch.

    NumPyro's ELBOs split keys for every site of every particle, which is most of what there is to
    compile of a small model.
    """

    _guide: AutoFlow

    def elbos(
        self,
        params: Params,
        key: Array,
        num_particles: int,
        *,
        path_gradient: bool,
        arrays: list[Array],
    ) -> Array:
        """ELBO terms of that many particles in one pass."""
        params = self.constrain(params)
        args, kwargs = self._arguments.filled(arrays)
        guide = copy.copy(self._guide)  # the user's own guide keeps its setting
        guide.path_gradient = path_gradient
        posterior = guide.get_posterior(params)
        draw_key, model_key = random.split(key)
        drawn = posterior.sample_with_intermediates(draw_key, (num_particles,))
        x, intermediates = spread_rows(drawn, self._particles, num_particles)
        density = log_density(
            guide, args, kwargs, rng_key=model_key, params=params, model=self._model
        )
        return jax.vmap(density)(x) - posterior.log_prob(x, intermediates)


class ElboObjective(_Parameters):
    """Of any guide: NumPyro's own `Trace_ELBO`, mapped over particles."""

    def elbos(
        self,
        params: Params,
        key: Array,
        num_particles: int,
        *,
        path_gradient: bool,
        arrays: list[Array],
    ) -> Array:
        """ELBO terms of that many particles in one pass."""
        params = self.constrain(params)
        args, kwargs = self._arguments.filled(arrays)

        def one(key: Array) -> Array:
            return -Trace_ELBO().loss(key, params, self._model, self._guide, *args, **kwargs)

        keys = random.split(key, num_particles)
        return jax.vmap(one)(spread_rows(keys, self._particles, num_particles))
