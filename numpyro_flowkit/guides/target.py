"""The posterior that a guide approximates, as a function of its unconstrained latents."""

from collections.abc import Callable
from typing import Any

import numpyro
from jax import Array, lax
from numpyro import handlers
from numpyro.infer.autoguide import AutoContinuous
from numpyro.infer.util import potential_energy

Params = dict[str, Any]


def log_density(
    guide: AutoContinuous,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    rng_key: Array,
    params: Params | None = None,
    model: Callable[..., Any] | None = None,
) -> Callable[[Array], Array]:
    """The function ``u -> log p(data, theta(u)) + log |det dtheta/du|`` of one latent vector.

    u is what the guide draws: all latents, packed and unconstrained; theta the model's own.

    Args:
        guide: a guide that has met its model.
        args: the model's arguments.
        kwargs: its keyword arguments.
        rng_key: for what the model itself draws: rows of subsampled plates.
        params: values of the model's own parameters (``numpyro.param`` sites).
        model: the model, if it is another than the guide's.
    """
    bare = guide.model if model is None else model
    fixed = {} if params is None else params

    def at(latent: Array) -> Array:
        seeded = handlers.seed(handlers.substitute(bare, data=fixed), rng_key)
        with numpyro.validation_enabled(False):  # of traced values there is nothing to check
            energy = potential_energy(seeded, args, kwargs, guide._unpack_latent(latent))
        return -energy

    return at


def in_chunks(function: Callable[[Array], Array], rows: Array, chunk_size: int) -> Array:
    """``function`` of each row, at most ``chunk_size`` of them at once; traceable."""
    return lax.map(function, rows, batch_size=min(chunk_size, len(rows)))
