"""Adapters: one module per library, each with ``build(case)``.

`build` returns a `TorchFlow` or a `JaxFlow` and raises ValueError, with the reason, for a case that
the library does not offer. Layers are the library's own, put together in its usual way.
"""

import importlib

from benchmarks.libraries import LIBRARIES


def adapter(library):
    """The adapter module of a library; its import imports the library."""
    return importlib.import_module(f"benchmarks.peers.{library}")


def operation_class(library):
    """The class that calls operations of that library's backend."""
    if LIBRARIES[library].backend == "torch":
        from benchmarks.peers.torch_flow import TorchOperation

        return TorchOperation
    from benchmarks.peers.jax_flow import JaxOperation

    return JaxOperation
