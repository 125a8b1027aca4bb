"""Adam on the ELBO of a guide, a window of steps in one compiled scan."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, random
from numpy.typing import NDArray
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer import Trace_ELBO

from flowkit_core.fitting import GuideFitSettings, Window
from flowkit_core.fitting.state import Arrays
from numpyro_flowkit.guides.target import Params

# Draws behind the ELBO of the weights that are compared at the end.
_EVALUATION_DRAWS = 4096
_EVALUATION_CHUNK = 256
_ADAM = optax.scale_by_adam()


class GuideTrainer:
    """Steps of one guide (`flowkit_core.fitting.guide_loop.GuideTrainer`).

    Works on any guide that NumPyro's `Trace_ELBO` takes, on the parameters of guide and model.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Any,
        params: Params,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        settings: GuideFitSettings,
        chunk_size: int | None,
    ) -> None:
        self._objective = _Objective(model, guide, params, args, kwargs)
        self._settings = settings
        self._given = params
        self._params = self._objective.unconstrain(params)
        self._moments = _ADAM.init(self._params)
        self._average = (jax.tree.map(jnp.zeros_like, self._params), jnp.zeros((), int))
        particles = settings.num_particles
        self._run = {
            path: jax.jit(
                functools.partial(
                    _steps,
                    self._objective.mean_loss(particles, chunk_size, path_gradient=path),
                    settings.max_grad_norm,
                )
            )
            for path in (True, False)
        }
        self._elbos = jax.jit(self._objective.elbos(_EVALUATION_DRAWS, _EVALUATION_CHUNK))

    @property
    def params(self) -> Params:
        """Values of all parameters, in their own (constrained) coordinates."""
        return {**self._given, **self._objective.constrain(self._params)}

    def run(self, window: Window, *, seed: tuple[int, int]) -> tuple[NDArray[np.float64], int]:
        """Take the steps of a window."""
        key = random.fold_in(random.key(seed[0]), seed[1])
        dtype = jnp.result_type(float)
        carry = self._params, self._moments, self._average
        carry, (losses, used) = self._run[window.path_gradient](
            carry, jnp.asarray(window.rates, dtype), key, jnp.asarray(window.average)
        )
        self._params, self._moments, self._average = carry
        return np.asarray(losses, np.float64), int((~np.asarray(used)).sum())

    def evaluate(self, weights: Arrays) -> tuple[float, float]:
        """ELBO at these weights and its standard error."""
        params = _from_arrays(self._params, weights)
        elbos = np.asarray(self._elbos(params, random.key(self._settings.seed)), np.float64)
        return float(elbos.mean()), float(elbos.std(ddof=1) / np.sqrt(len(elbos)))

    def weights(self) -> Arrays:
        """A copy of the weights."""
        return _to_arrays(self._params)

    def average(self) -> Arrays:
        """Mean of the weights over the steps that were averaged."""
        total, count = self._average
        return _to_arrays(total) if int(count) else {}

    def set_weights(self, arrays: Arrays) -> None:
        """Put weights back and start the optimiser anew."""
        self._params = _from_arrays(self._params, arrays)
        self._moments = _ADAM.init(self._params)

    def state(self) -> Arrays:
        """Weights, Adam's moments and the average."""
        return _to_arrays((self._params, self._moments, self._average))

    def set_state(self, arrays: Arrays) -> None:
        """Put such a state back."""
        like = self._params, self._moments, self._average
        self._params, self._moments, self._average = _from_arrays(like, arrays)


class _Objective:
    """The ELBO of one model and guide as a function of unconstrained parameters."""

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Any,
        params: Params,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._model, self._guide, self._args, self._kwargs = model, guide, args, kwargs
        self._transforms = _constraints(model, guide, params, args, kwargs)

    def constrain(self, params: Params) -> Params:
        """Parameters in their own coordinates."""
        return {k: self._transforms[k](v) if k in self._transforms else v
                for k, v in params.items()}  # fmt: skip

    def unconstrain(self, params: Params) -> Params:
        """Parameters that Adam may move freely."""
        free = {k: self._transforms[k].inv(v) if k in self._transforms else v
                for k, v in params.items()}  # fmt: skip
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), free)

    def _one(self, params: Params, key: Array, *, path_gradient: bool) -> Array:
        guide = self._guide
        if getattr(guide, "path_gradient", path_gradient) != path_gradient:
            guide = copy.copy(guide)  # the user's own guide keeps its setting
            guide.path_gradient = path_gradient
        loss = Trace_ELBO().loss(
            key, self.constrain(params), self._model, guide, *self._args, **self._kwargs
        )
        return -loss

    def mean_loss(
        self, num_particles: int, chunk_size: int | None, *, path_gradient: bool
    ) -> Callable[[Params, Array], Array]:
        """The negative ELBO, averaged over particles that are evaluated a chunk at a time."""
        chunk = num_particles if chunk_size is None else min(chunk_size, num_particles)

        def loss(params: Params, key: Array) -> Array:
            keys = random.split(key, num_particles)
            one = functools.partial(self._one, params, path_gradient=path_gradient)
            if chunk == num_particles:
                return -jax.vmap(one)(keys).mean()
            # The gradient of a chunk is taken when it is met again: memory is that of one chunk.
            return -lax.map(jax.checkpoint(one), keys, batch_size=chunk).mean()

        return loss

    def elbos(self, num_draws: int, chunk_size: int) -> Callable[[Params, Array], Array]:
        """ELBO terms of single draws."""

        def draws(params: Params, key: Array) -> Array:
            one = functools.partial(self._one, params, path_gradient=False)
            return lax.map(one, random.split(key, num_draws), batch_size=chunk_size)

        return draws


def _constraints(
    model: Callable[..., Any],
    guide: Any,
    params: Params,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> dict[str, Any]:
    """For every parameter with a constraint the bijection from free numbers onto it."""
    seeded = handlers.seed(handlers.substitute(guide, data=params), rng_seed=0)
    with handlers.block():
        guide_trace = handlers.trace(seeded).get_trace(*args, **kwargs)
        replayed = handlers.replay(handlers.seed(model, rng_seed=1), guide_trace)
        substituted = handlers.substitute(replayed, data=params)
        model_trace = handlers.trace(substituted).get_trace(*args, **kwargs)
    return {
        site["name"]: biject_to(site["kwargs"]["constraint"])
        for site in [*model_trace.values(), *guide_trace.values()]
        if site["type"] == "param" and "constraint" in site["kwargs"]
    }


def _steps(
    loss: Callable[[Params, Array], Array],
    max_norm: float,
    carry: Any,
    rates: Array,
    key: Array,
    average: Array,
) -> Any:
    """Adam steps at the given rates; those without a finite loss and gradient change nothing."""

    def step(carry: Any, inputs: tuple[Array, Array]) -> Any:
        params, moments, (mean, count) = carry
        rate, key = inputs
        value, gradient = jax.value_and_grad(loss)(params, key)
        norm = optax.global_norm(gradient)
        usable = jnp.isfinite(value) & jnp.isfinite(norm)
        factor = jnp.minimum(1.0, max_norm / (norm + 1e-6))
        clipped = jax.tree.map(lambda g: factor.astype(g.dtype) * g, gradient)
        updates, moved_moments = _ADAM.update(clipped, moments)
        moved = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, params, updates)
        params, moments = jax.tree.map(
            lambda new, old: jnp.where(usable, new, old), (moved, moved_moments), (params, moments)
        )
        count = count + average
        share = jnp.where(average, 1.0 / jnp.maximum(count, 1), 0.0)
        mean = jax.tree.map(lambda m, p: m + share.astype(m.dtype) * (p - m), mean, params)
        return (params, moments, (mean, count)), (value, usable)

    return lax.scan(step, carry, (rates, random.split(key, len(rates))))


def _to_arrays(tree: Any) -> Arrays:
    """The leaves under their numbers; a flow of a user's own has no names for them."""
    return {f"{i:05d}": np.array(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}


def _from_arrays(tree: Any, arrays: Arrays) -> Any:
    """A tree like ``tree`` with other leaves."""
    leaves = [jnp.asarray(arrays[name]) for name in sorted(arrays)]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)
