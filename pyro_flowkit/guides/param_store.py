"""What a flow guide and Pyro's parameter store have to do with one another."""

from collections.abc import Iterable
from typing import Any, TypeVar

import pyro
from pyro.nn import PyroModule
from pyro.params.param_store import param_with_module_name
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def with_stored_weights(guide: PyroModule, part: str, module: ModuleT) -> ModuleT:
    """Take over weights that the store holds under the names of a guide's part: a loaded store's.

    Args:
        guide: the guide.
        part: the attribute that the module is to be.
        module: with the weights that the part starts with.

    Raises:
        ValueError: if the store holds weights of other shapes.
    """
    store = pyro.get_param_store()
    for name, parameter in _stored_names(guide, part, module).items():
        if name not in store:
            return module
        stored = store[name]
        if stored.shape != parameter.shape:
            raise ValueError(
                f"Pyro's parameter store holds {name!r} of another guide: expected shape "
                f"{tuple(parameter.shape)}, got {tuple(stored.shape)}; call "
                "pyro.clear_param_store() before using this guide"
            )
    pyro.module(guide._pyro_get_fullname(part), module, update_module_params=True)
    return module


def claim_stored_names(guide: PyroModule, parts: Iterable[str]) -> None:
    """Make the store hold this guide's tensors, not those of the guide it is a copy of.

    Otherwise SVI would optimise the other guide's weights while this one's are evaluated.
    """
    store = pyro.get_param_store()
    for part in parts:
        module = guide._modules.get(part)  # an attribute's look-up would register it
        names = {} if module is None else _stored_names(guide, part, module)
        first = next(iter(names), None)
        if first is None or first not in store:
            continue
        stored: Any = store[first]
        if stored.unconstrained() is not names[first]:
            for name in names:
                if name in store:
                    del store[name]


def _stored_names(guide: PyroModule, part: str, module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters of a part by their names in the store."""
    own = guide._pyro_get_fullname(part)
    return {str(param_with_module_name(own, n)): p for n, p in module.named_parameters()}
