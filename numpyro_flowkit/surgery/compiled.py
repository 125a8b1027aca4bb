"""Compiled programs of a model and its guide, for as long as these two live."""

import weakref
from collections.abc import Callable
from inspect import ismethod
from typing import Any

import jax

Program = Callable[..., Any]

_Key = tuple[Any, ...]
_programs: dict[_Key, tuple[Any, ...]] = {}


def compiled(body: Program, model: Callable[..., Any], guide: Callable[..., Any]) -> Program:
    """``jit`` of ``body(model, guide, ...)``: the same program whenever it is asked for again.

    So a second call with arguments of the same shapes neither traces nor compiles. As under any
    ``jit``, what model and guide read besides their arguments counts as it was in the first call.
    Programs hold model and guide weakly, and go when either of them goes.

    Args:
        body: called with model, guide, parameters, a batch, a key, and two static arguments.
        model: told from others by identity; a method by that of its object.
        guide: the same.
    """
    key = (body, *_identity(model), *_identity(guide))
    if key not in _programs:

        def forget(_: Any) -> None:
            _programs.pop(key, None)

        try:
            references = _reference(model, forget), _reference(guide, forget)
        except TypeError:  # of a class whose objects cannot be referred to weakly
            return _jit(body, lambda: model, lambda: guide)
        _programs[key] = (_jit(body, *references), *references)
    program: Program = _programs[key][0]
    return program


def _jit(body: Program, model: Callable[[], Any], guide: Callable[[], Any]) -> Program:
    def program(params: Any, batch: Any, key: Any, latent: str, count: int) -> Any:
        return body(model(), guide(), params, batch, key, latent, count)

    return jax.jit(program, static_argnames=("latent", "count"))


def _identity(function: Callable[..., Any]) -> tuple[int, int]:
    if ismethod(function):  # an object that is made anew whenever it is looked up
        return id(function.__self__), id(function.__func__)
    return id(function), 0


def _reference(function: Callable[..., Any], forget: Callable[[Any], None]) -> Callable[[], Any]:
    if ismethod(function):
        return weakref.WeakMethod(function, forget)
    return weakref.ref(function, forget)
