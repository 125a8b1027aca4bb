"""From what a user says about a base to the base."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.distributions import Distribution

from flowkit_core.bases import check_base
from pyro_flowkit.bases.mixture import mixture_base
from pyro_flowkit.bases.student_t import student_t_base

# A name, or a callable from the number of coordinates to a module that gives a distribution.
BaseChoice = str | Callable[[int], nn.Module]

_NAMED: dict[str, BaseChoice] = {"student_t": student_t_base, "mixture": mixture_base}


def checked_choice(base: BaseChoice) -> BaseChoice:
    """Return ``base`` if it is a name or a callable, and not a base already.

    Raises:
        ValueError: for another name.
        TypeError: for anything else.

    Example:
        >>> checked_choice("student_t")
        'student_t'
    """
    check_base(base)
    if isinstance(base, nn.Module):
        raise TypeError(
            "base: expected a name or a callable from the number of latents to a base, e.g. "
            f"mixture_base itself, got a {type(base).__name__}"
        )
    return base


def make_base(base: BaseChoice, dim: int, like: Tensor) -> nn.Module | None:
    """The base of ``dim`` coordinates, in the dtype and on the device of ``like``.

    Returns:
        A module, or None for the standard Normal, which has nothing to learn.

    Raises:
        TypeError: if a callable gives no module, or its call no distribution.
        ValueError: if that is no distribution of ``dim`` coordinates with reparametrised draws.
    """
    if isinstance(base, str):
        if base == "normal":
            return None
        return make_base(_NAMED[base], dim, like)
    module = base(dim)
    if not isinstance(module, nn.Module):
        raise TypeError(
            "base: expected it to return a torch module whose call gives a distribution, got "
            f"{type(module).__name__}"
        )
    module = module.to(device=like.device, dtype=like.dtype)
    _check_distribution(module(), dim)
    return module


def _check_distribution(given: object, dim: int) -> None:
    if not isinstance(given, Distribution):
        raise TypeError(
            f"base: expected its call to give a distribution, got {type(given).__name__}"
        )
    if given.event_shape != (dim,) or given.batch_shape:
        raise ValueError(
            f"base: expected event shape ({dim},) and no batch, got event shape "
            f"{tuple(given.event_shape)}, batch shape {tuple(given.batch_shape)}"
        )
    if not given.has_rsample:
        raise ValueError(
            f"base: expected a distribution with reparametrised draws, got {type(given).__name__}"
        )
