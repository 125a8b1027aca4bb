"""Whether a model, with these arguments, is one that a guide can be fitted to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.autoguide import AutoContinuous
from numpyro.primitives import Messenger

from flowkit_core import model_problems


def check_latents(guide: AutoContinuous, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise if a new guide's model has latents that a guide cannot take, or none.

    Raises:
        ModelError: says which site it is, and what to do.
    """
    seeded = handlers.seed(guide.model, rng_seed=0)
    started = handlers.substitute(seeded, substitute_fn=guide.init_loc_fn)
    if not _look(started, args, kwargs):
        raise model_problems.no_latents(_observed(seeded, args, kwargs))


def check_start(
    model: Callable[..., Any],
    guide: AutoContinuous,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Raise if these arguments give the model other latents, or no finite density at the start.

    Raises:
        ModelError: says which site it is, and what to do.
    """
    check_shapes(model, guide, args, kwargs)
    values = guide._postprocess_fn(dict(guide._init_locs))
    latents = {n for n, site in guide.prototype_trace.items() if _is_latent(site)}
    at_start = {name: value for name, value in values.items() if name in latents}
    seeded = handlers.seed(model, rng_seed=0)
    _look(handlers.substitute(seeded, data=at_start), args, kwargs, densities=True)


def check_shapes(
    model: Callable[..., Any],
    guide: AutoContinuous,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Raise if the model has other latents than a guide has met.

    Raises:
        ModelError: says which site it is, and what to do.
    """
    shapes = _look(handlers.seed(model, rng_seed=0), args, kwargs)
    met = {name: jnp.shape(site["value"]) for name, site in guide.prototype_trace.items()
           if _is_latent(site)}  # fmt: skip
    model_problems.check_same_shapes(met, shapes)


@contextmanager
def explained(
    guide: AutoContinuous, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[None]:
    """Say what is wrong with the model if it fails in the block.

    Raises:
        ModelError: if the density where the guide starts is not finite.
    """
    try:
        yield
    except Exception:  # whatever the model meets with
        seeded = handlers.seed(guide.model, rng_seed=0)
        started = handlers.substitute(seeded, substitute_fn=guide.init_loc_fn)
        _look(started, args, kwargs, densities=True)
        raise


def _is_latent(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and not site["is_observed"]


def _observed(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[str]:
    trace = handlers.trace(model).get_trace(*args, **kwargs)
    return [name for name, site in trace.items() if site["type"] == "sample"]


def _look(
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    densities: bool = False,
) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's latents. Without NumPyro's own checks, which name no site."""
    look = _Look(model, densities=densities)
    with handlers.block(), numpyro.validation_enabled(False):
        try:
            look(*args, **kwargs)
        except AssertionError as error:
            if "size of plate should be positive" not in str(error):
                raise
            raise model_problems.empty_plate(look.sites) from error
    return look.shapes


class _Look(Messenger):
    """Objects to the first site of a model that a guide cannot take."""

    def __init__(self, fn: Callable[..., Any], *, densities: bool) -> None:
        super().__init__(fn)
        self._densities = densities
        self._full_sizes: dict[str, int] = {}
        self.sites: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def postprocess_message(self, msg: dict[str, Any]) -> None:
        """Called at every site, once it has its value."""
        if msg["type"] == "plate":
            self._full_sizes[msg["name"]] = msg["args"][0]
        if msg["type"] != "sample":
            return
        self.sites.append(msg["name"])
        if _is_latent(msg):
            self._check_latent(msg)
            self.shapes[msg["name"]] = jnp.shape(msg["value"])
        if self._densities:
            log_prob = float(jnp.sum(msg["fn"].log_prob(msg["value"])))
            if not _is_supported(msg):  # NumPyro itself gives a finite number all the same
                log_prob = min(log_prob, -np.inf)
            if not np.isfinite(log_prob):
                observed = msg["is_observed"]
                raise model_problems.bad_density(msg["name"], log_prob, observed=observed)

    def _check_latent(self, msg: dict[str, Any]) -> None:
        name, fn, value = msg["name"], msg["fn"], jnp.asarray(msg["value"])
        if fn.support.is_discrete and msg["infer"].get("enumerate") != "parallel":
            while hasattr(fn, "base_dist"):
                fn = fn.base_dist
            raise model_problems.discrete_latent(name, type(fn).__name__)
        for frame in msg["cond_indep_stack"]:
            full_size = self._full_sizes.get(frame.name, frame.size)
            if full_size != frame.size:
                raise model_problems.local_latent(name, frame.name, frame.size, full_size)
        if value.shape != fn.shape():
            raise model_problems.bad_start_shape(name, fn.shape(), value.shape)
        if not _fits(value, fn.support):
            raise model_problems.bad_start_value(name, value.tolist(), fn.support)


def _is_supported(msg: dict[str, Any]) -> bool:
    """Whether every number of a site that counts lies in the support."""
    fn, support = msg["fn"], _elementwise(msg["fn"].support)
    if support.event_dim > 0:  # as a simplex, which rounding may leave
        return True
    inside = jnp.asarray(support(msg["value"]))
    inside = inside.reshape(*inside.shape[: inside.ndim - fn.event_dim], -1).all(-1)
    return bool(jnp.all(inside | ~jnp.asarray(getattr(fn, "_mask", True))))


def _elementwise(support: Any) -> Any:
    """What a support asks of single numbers, if that is all that it asks."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def _fits(value: Array, support: Any) -> bool:
    """Whether a value is one to start from; a simplex, say, may be off by more than rounding."""
    support = _elementwise(support)
    is_inside = support.event_dim > 0 or bool(jnp.all(support(value)))
    return is_inside and bool(jnp.isfinite(biject_to(support).inv(value)).all())
