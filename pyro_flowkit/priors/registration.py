"""How a prior registers its parameters in Pyro's store."""

from typing import Any, TypeVar

import pyro
from pyro.params.param_store import param_with_module_name
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_flowkit.transforms.checks import tracing

ModuleT = TypeVar("ModuleT", bound=nn.Module)

# What Pyro puts between the name of a module and that of its parameter.
_DIVIDER = "$$$"


def checked_name(name: object) -> str:
    """Return ``name`` if parameters can be registered under it.

    Example:
        >>> checked_name("prior")
        'prior'
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected a name for the prior's parameters, got {name!r}")
    if not name or _DIVIDER in name:
        raise ValueError(f"name: expected a name that is not empty and without {_DIVIDER!r}, "
                         f"got {name!r}")  # fmt: skip
    return name


def registered(
    name: str, start: Tensor, constraint: constraints.Constraint | None = None
) -> Tensor:
    """The parameter ``name`` as it is now; it starts as a copy of ``start``.

    A copy, since Pyro trains a starting tensor in place: one cut from the data would change them.

    Args:
        name: in Pyro's store.
        start: value at the start.
        constraint: where the parameter lives; anywhere if None.

    Raises:
        ValueError: if the store holds a parameter of another shape under that name.

    Example:
        >>> import torch
        >>> registered("weights", torch.zeros(2))
        tensor([0., 0.], requires_grad=True)
    """
    value = pyro.param(
        name,
        start.detach().clone,
        constraint=constraints.real if constraint is None else constraint,
    )
    if not tracing() and value.shape != start.shape:
        _refuse(name, start, value)
    return value


def registered_module(name: str, module: ModuleT) -> ModuleT:
    """Register a module's weights, or take over those that the store has under the name.

    The latter is what a loaded store needs: without it the module would keep its first weights
    while SVI trains the store's.

    Raises:
        ValueError: if the store holds weights of other shapes.
    """
    store = pyro.get_param_store()
    named = {str(param_with_module_name(name, n)): p for n, p in module.named_parameters()}
    first = next(iter(named), None)
    # Once they are ours, which is at every step but the first, one look is enough.
    if first is not None and first in store and _stored(store, first) is not named[first]:
        for full_name, parameter in named.items():
            if full_name in store and store[full_name].shape != parameter.shape:
                _refuse(full_name, parameter, store[full_name])
    pyro.module(name, module, update_module_params=True)
    return module


def _stored(store: Any, name: str) -> Tensor:
    unconstrained: Tensor = store[name].unconstrained()
    return unconstrained


def _refuse(name: str, expected: Tensor, got: Tensor) -> None:
    raise ValueError(
        f"Pyro's parameter store holds {name!r} of another prior: expected shape "
        f"{tuple(expected.shape)}, got {tuple(got.shape)}; use another name, or call "
        "pyro.clear_param_store() first"
    )
