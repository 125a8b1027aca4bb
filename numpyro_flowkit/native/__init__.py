"""The sweep compiled from C: its functions as custom calls of XLA."""

import jax

from flowkit_core.native.library import status


def kernel_status() -> str:
    """One line: whether sweeps on the CPU run compiled from C, and if not, why not.

    They do for plain masked networks with an affine or additive law where there is a C compiler;
    see `flowkit_core.native.library`. Everything else is compiled by XLA.

    Example:
        >>> kernel_status().split(":")[0] in ("compiled", "not compiled")
        True
    """
    return status(jax.ffi.include_dir())


__all__ = ["kernel_status"]
