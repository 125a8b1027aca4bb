"""Whether a model, with these arguments, is one that a guide can be fitted to."""

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide.guides import AutoContinuous
from pyro.poutine.util import site_is_subsample
from torch.distributions import biject_to

from flowkit_core import model_problems


def meet(guide: AutoContinuous, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Show a new guide its model.

    Pyro's parameter store stays out of it: it may hold weights of another guide of the same name,
    which a call of the guide would take over, and it is not to know of this one's before SVI runs.
    """
    if guide.prototype_trace is None:
        with pyro.get_param_store().scope(), torch.no_grad(), poutine.block():
            guide(*args, **kwargs)


def check_start(
    guide: AutoContinuous,
    model: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Raise if these arguments give the model other latents, or no finite density at the start.

    Raises:
        ModelError: says which site it is, and what to do.
    """
    with torch.no_grad(), torch.random.fork_rng(), poutine.block():
        trace: Any = poutine.trace(model).get_trace(*args, **kwargs)
        prototype: Any = guide.prototype_trace
        shapes = {name: tuple(site["value"].shape) for name, site in trace.iter_stochastic_nodes()
                  if not site_is_subsample(site)}  # fmt: skip
        met = {name: tuple(site["value"].shape)
               for name, site in prototype.iter_stochastic_nodes()}  # fmt: skip
        for name in [*met, *shapes]:
            if met.get(name) != shapes.get(name):
                raise model_problems.changed_shapes(name, met.get(name), shapes.get(name))
        values = {
            site["name"]: biject_to(site["fn"].support)(unconstrained)
            for site, unconstrained in guide._unpack_latent(guide._init_loc())
        }
        at_start = poutine.trace(poutine.condition(model, data=values)).get_trace(*args, **kwargs)
        nodes: Any = at_start.nodes.items()
        for name, site in nodes:
            if site["type"] == "sample" and not site_is_subsample(site):
                log_prob = float(site["fn"].log_prob(site["value"]).sum())
                if not torch.isfinite(torch.tensor(log_prob)):
                    raise model_problems.bad_density(name, log_prob, observed=name not in values)
