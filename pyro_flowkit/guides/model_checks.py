"""Whether a model, with these arguments, is one that a guide can be fitted to."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer.autoguide.guides import AutoContinuous
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import biject_to, constraints

from flowkit_core import model_problems


def meet(guide: AutoContinuous, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Show a new guide its model.

    Pyro's parameter store stays out of it: it may hold weights of another guide of the same name,
    which a call of the guide would take over, and it is not to know of this one's before SVI runs.

    Raises:
        ModelError: if the model has discrete, local or no latents, or no finite density at a
            starting value that fits; says which site it is, and what to do.
    """
    if guide.prototype_trace is None:
        with pyro.get_param_store().scope(), torch.no_grad(), poutine.block():
            with torch.random.fork_rng(), _looking() as look:
                guide.model(*args, **kwargs)
            look.check_latents()
            guide(*args, **kwargs)


def check_start(
    model: Callable[..., Any],
    guide: AutoContinuous,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Raise if these arguments give the model other latents, or no finite density at the start.

    Raises:
        ModelError: says which site it is, and what to do.
    """
    with torch.no_grad(), torch.random.fork_rng(), poutine.block():
        with _looking(densities=False) as look:
            model(*args, **kwargs)
        prototype: Any = guide.prototype_trace
        met = {name: tuple(site["value"].shape)
               for name, site in prototype.iter_stochastic_nodes()}  # fmt: skip
        model_problems.check_same_shapes(met, look.shapes)
        values = {
            site["name"]: biject_to(site["fn"].support)(unconstrained)
            for site, unconstrained in guide._unpack_latent(guide._init_loc())
        }
        at_start = poutine.condition(model, data=values)
        with _looking(latents=values):
            at_start(*args, **kwargs)
        at_start(*args, **kwargs)  # once with all of Pyro's own checks


class _Look(Messenger):
    """Objects to the first site of a model that a guide cannot take.

    Args:
        densities: whether the density of every site has to be finite.
        latents: sites that are latent although they are conditioned.
    """

    def __init__(self, *, densities: bool, latents: Mapping[str, Any]) -> None:
        super().__init__()
        self._densities, self._latents = densities, latents
        self.sites: list[str] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def check_latents(self) -> None:
        """Raise if there was none."""
        if not self.shapes:
            raise model_problems.no_latents(self.sites)

    def _pyro_post_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            return
        name, fn, value = msg["name"], msg["fn"], msg["value"]
        self.sites.append(name)
        is_latent = name in self._latents or not msg["is_observed"]
        if is_latent:
            self._check_latent(msg)
            self.shapes[name] = tuple(value.shape)
        if self._densities:
            log_prob = scale_and_mask(fn.log_prob(value), msg["scale"], msg["mask"]).sum()
            if not torch.isfinite(log_prob):
                raise model_problems.bad_density(name, float(log_prob), observed=not is_latent)

    def _check_latent(self, msg: Any) -> None:
        name, fn, value = msg["name"], msg["fn"], msg["value"]
        if fn.support.is_discrete:
            while hasattr(fn, "base_dist"):
                fn = fn.base_dist
            raise model_problems.discrete_latent(name, type(fn).__name__)
        try:
            biject_to(fn.support)
        except NotImplementedError as error:
            support = type(fn.support).__name__
            raise model_problems.no_bijection(name, type(fn).__name__, support) from error
        for frame in msg["cond_indep_stack"]:
            if frame.full_size is not None and frame.full_size != frame.size:
                raise model_problems.local_latent(name, frame.name, frame.size, frame.full_size)
        if value.shape != fn.shape():
            raise model_problems.bad_start_shape(name, tuple(fn.shape()), tuple(value.shape))
        if self._densities and not _fits(value, fn.support):
            raise model_problems.bad_start_value(name, value.tolist(), fn.support)


def _fits(value: Tensor, support: Any) -> bool:
    """Whether a value is one to start from; a simplex, say, may be off by more than rounding."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    is_inside = support.event_dim > 0 or bool(support.check(value).all())
    return is_inside and bool(biject_to(support).inv(value).isfinite().all())


@contextmanager
def _looking(
    *, densities: bool = True, latents: Mapping[str, Any] | None = None
) -> Iterator[_Look]:
    """Look at a model that runs in the block, without Pyro's own checks, which name no site."""
    look = _Look(densities=densities, latents=latents or {})
    with pyro.validation_enabled(False), look:
        try:
            yield look
        except ZeroDivisionError as error:
            if "size cannot be zero" not in str(error):
                raise
            raise model_problems.empty_plate(look.sites) from error
