"""Adam on the ELBO of a guide, a window of steps in one compiled loop."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax, random
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding
from numpy.typing import NDArray

from flowkit_core.fitting import GuideFitSettings, Window
from flowkit_core.fitting.guide_settings import EVALUATION_CHUNK, EVALUATION_DRAWS
from flowkit_core.fitting.state import Arrays
from numpyro_flowkit.guides.objectives import Objective
from numpyro_flowkit.guides.sharding import everywhere
from numpyro_flowkit.guides.target import Params

_ADAM = optax.scale_by_adam()


class GuideTrainer:
    """Steps of one guide (`flowkit_core.fitting.guide_loop.GuideTrainer`).

    Moves the parameters of guide and model together.
    """

    def __init__(
        self,
        objective: Objective,
        params: Params,
        settings: GuideFitSettings,
        chunk_size: int | None,
        particle_sharding: NamedSharding | None = None,
    ) -> None:
        self._objective = objective
        self._settings = settings
        self._given = params
        self._place = everywhere(particle_sharding, objective.arrays)
        # One vector: Adam on each array by itself would be most of what there is to compile.
        vector, self._unravel = ravel_pytree(objective.unconstrain(params))
        self._start_at(vector)
        self._run = {
            path: jax.jit(
                functools.partial(
                    _steps,
                    self._loss(chunk_size, path_gradient=path),
                    settings.max_grad_norm,
                ),
                out_shardings=self._place,
            )
            for path in (True, False)
        }
        self._elbos = jax.jit(self._evaluated, out_shardings=self._place)

    def _start_at(self, vector: Array | NDArray[Any]) -> None:
        """Weights, and an optimiser and an average that know nothing yet."""
        self._params = self._placed(vector)
        self._moments = self._placed(_ADAM.init(self._params))
        self._average = self._placed((jnp.zeros_like(self._params), jnp.zeros((), int)))

    def _placed(self, tree: Any) -> Any:
        """Arrays on all devices of the fit, where it has several."""
        tree = jax.tree.map(jnp.asarray, tree)
        return tree if self._place is None else jax.device_put(tree, self._place)

    def _loss(
        self, chunk_size: int | None, *, path_gradient: bool
    ) -> Callable[[Array, Array, list[Array]], Array]:
        """The negative ELBO, averaged over particles that are evaluated a chunk at a time."""
        count = self._settings.num_particles
        chunk = count if chunk_size is None else min(chunk_size, count)
        elbos = functools.partial(self._objective.elbos, path_gradient=path_gradient)

        def loss(vector: Array, key: Array, arrays: list[Array]) -> Array:
            params = self._unravel(vector)
            if chunk == count:
                return -elbos(params, key, count, arrays=arrays).mean()
            whole, rest = divmod(count, chunk)
            keys = random.split(key, whole + 1)
            # The gradient of a chunk is taken when it is met again: memory is that of one chunk.
            one = jax.checkpoint(lambda k: elbos(params, k, chunk, arrays=arrays).sum())
            total = lax.map(one, keys[:whole]).sum()
            if rest:
                total = total + elbos(params, keys[whole], rest, arrays=arrays).sum()
            return -total / count

        return loss

    def _evaluated(self, vector: Array, key: Array, arrays: list[Array]) -> Array:
        """ELBO terms of many draws, a chunk at a time."""
        params = self._unravel(vector)
        keys = random.split(key, EVALUATION_DRAWS // EVALUATION_CHUNK)
        one = functools.partial(self._objective.elbos, params, path_gradient=False, arrays=arrays)
        return lax.map(lambda k: one(k, EVALUATION_CHUNK), keys).reshape(-1)

    @property
    def params(self) -> Params:
        """Values of all parameters, in their own (constrained) coordinates."""
        return {**self._given, **self._objective.constrain(self._unravel(self._params))}

    def run(self, window: Window, *, seed: tuple[int, int]) -> tuple[NDArray[np.float64], int]:
        """Take the steps of a window."""
        key = random.fold_in(random.key(seed[0]), seed[1])
        carry = self._params, self._moments, self._average
        count = len(window.rates)
        # Shorter windows run the same program: to compile another would take seconds.
        rates = np.zeros(max(count, self._settings.window))
        rates[:count] = window.rates
        carry, (losses, used) = self._run[window.path_gradient](
            carry,
            jnp.asarray(rates, self._params.dtype),
            count,
            key,
            jnp.asarray(window.average),
            self._objective.arrays,
        )
        self._params, self._moments, self._average = carry
        skipped = int((~np.asarray(used[:count])).sum())
        return np.asarray(losses[:count], np.float64), skipped

    def evaluate(self, weights: Arrays) -> tuple[float, float]:
        """ELBO at these weights and its standard error."""
        vector = jnp.asarray(weights["params"])
        key = random.key(self._settings.seed)
        elbos = np.asarray(self._elbos(vector, key, self._objective.arrays), np.float64)
        return float(elbos.mean()), float(elbos.std(ddof=1) / np.sqrt(len(elbos)))

    def weights(self) -> Arrays:
        """A copy of the weights."""
        return {"params": np.array(self._params)}

    def average(self) -> Arrays:
        """Mean of the weights over the steps that were averaged."""
        mean, count = self._average
        return {"params": np.array(mean)} if int(count) else {}

    def set_weights(self, arrays: Arrays) -> None:
        """Put weights back, and start the optimiser and the average anew."""
        self._start_at(arrays["params"])

    def state(self) -> Arrays:
        """Weights, Adam's moments and the average."""
        mean, count = self._average
        moments = {"step": self._moments.count, "mu": self._moments.mu, "nu": self._moments.nu}
        arrays = {"params": self._params, "mean": mean, "num_averaged": count, **moments}
        return {name: np.array(array) for name, array in arrays.items()}

    def set_state(self, arrays: Arrays) -> None:
        """Put such a state back."""
        got = self._placed(arrays)
        self._params, self._average = got["params"], (got["mean"], got["num_averaged"])
        self._moments = optax.ScaleByAdamState(got["step"], got["mu"], got["nu"])


def _steps(
    loss: Callable[[Array, Array, list[Array]], Array],
    max_norm: float,
    carry: Any,
    rates: Array,
    num_steps: Array,
    key: Array,
    average: Array,
    arrays: list[Array],
) -> Any:
    """Adam steps at the first of the given rates.

    Steps without a finite loss and gradient change nothing.
    """
    keys = random.split(key, len(rates))

    def step(carry: Any, inputs: tuple[Array, Array]) -> Any:
        params, moments, (mean, count) = carry
        rate, key = inputs
        value, gradient = jax.value_and_grad(loss)(params, key, arrays)
        norm = jnp.linalg.norm(gradient)
        usable = jnp.isfinite(value) & jnp.isfinite(norm)

        # Branches, not selections: of a few particles, a step's time is that of walks through
        # vectors as long as all parameters.
        def moved() -> Any:
            clipped = gradient * jnp.minimum(1.0, max_norm / (norm + 1e-6))
            update, moved_moments = _ADAM.update(clipped, moments)
            return params - rate * update, moved_moments

        params, moments = lax.cond(usable, moved, lambda: (params, moments))
        count = count + average
        share = (1.0 / jnp.maximum(count, 1)).astype(mean.dtype)
        mean = lax.cond(average, lambda: mean + share * (params - mean), lambda: mean)
        return (params, moments, (mean, count)), (value, usable)

    def at(i: Array, state: Any) -> Any:
        carry, (values, usable) = state
        carry, (value, is_usable) = step(carry, (rates[i], keys[i]))
        return carry, (values.at[i].set(value), usable.at[i].set(is_usable))

    told = jnp.zeros_like(rates), jnp.ones(len(rates), bool)
    return lax.fori_loop(0, num_steps, at, (carry, told))
