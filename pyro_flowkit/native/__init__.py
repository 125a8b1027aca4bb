"""The sweep compiled: C sources, their compilation, and their call."""

from pyro_flowkit.native.library import kernel_status

__all__ = ["kernel_status"]
