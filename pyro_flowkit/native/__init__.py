"""The sweep compiled from C: how its functions are called."""

from flowkit_core.native.library import status


def kernel_status() -> str:
    """One line: whether sweeps on the CPU run compiled, and if not, why not.

    They do for plain masked networks with an affine or additive law where there is a C compiler;
    see `flowkit_core.native.library`.

    Example:
        >>> kernel_status().split(":")[0] in ("compiled", "not compiled")
        True
    """
    return status()


__all__ = ["kernel_status"]
