"""Deterministic sites of a Pyro model at draws of its latents, which guides leave out."""

import numpy as np
import pyro
import torch
from pyro import poutine


def with_deterministic(model, args, draws, sites):
    """The draws, and values of those sites that are not latent.

    The model is run once for all draws. If it does not broadcast, it is run draw by draw.

    Args:
        model: a Pyro model.
        args: its arguments.
        draws: latent site -> values (n, ...), arrays.
        sites: names of the sites that are wanted.
    """
    missing = [site for site in sites if site not in draws]
    if not missing:
        return draws
    latents = {name: torch.from_numpy(np.array(values)) for name, values in draws.items()}
    count = len(next(iter(latents.values())))
    with torch.no_grad(), pyro.validation_enabled(False):
        together = _all_at_once(model, args, latents, missing, count)
        if together is None:
            rows = [_values(model, args, _row(latents, i), missing) for i in range(count)]
            together = {name: torch.stack([row[name] for row in rows]) for name in missing}
    return {**draws, **{name: values.numpy() for name, values in together.items()}}


def _all_at_once(model, args, latents, names, count):
    """Values of sites for all draws, or None unless they are those of single draws."""
    try:
        found = _values(model, args, latents, names)
    except Exception:  # whatever a model may do with a shape it does not expect
        return None
    for index in (0, count - 1):
        alone = _values(model, args, _row(latents, index), names)
        for name in names:
            if found[name].shape != (count, *alone[name].shape):
                return None
            if not torch.allclose(found[name][index], alone[name], rtol=1e-4, equal_nan=True):
                return None
    return found


def _values(model, args, latents, names):
    conditioned = poutine.condition(model, data=latents)
    trace = poutine.trace(conditioned).get_trace(*args)
    return {name: trace.nodes[name]["value"] for name in names}


def _row(latents, index):
    return {name: values[index] for name, values in latents.items()}
