"""The libraries that are measured. A new peer is one entry here and one adapter in `peers`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Library:
    """A library under test.

    Args:
        backend: "torch" or "jax".
        families: kinds of flow that its adapter, ``benchmarks.peers.<name>``, builds.
        package: its name on PyPI.
    """

    backend: str
    families: tuple
    package: str


ALL = ("maf", "realnvp", "lu")
RESIDUAL = ("planar", "sylvester")
IMAGES = ("image_coupling", "conv1x1")

LIBRARIES = {
    "pyro_flowkit": Library("torch", ALL + RESIDUAL + IMAGES, "ppl-flowkit"),
    "pyro": Library("torch", ALL + RESIDUAL, "pyro-ppl"),
    "zuko": Library("torch", ALL, "zuko"),
    "nflows": Library("torch", ALL, "nflows"),
    "normflows": Library("torch", ALL + IMAGES, "normflows"),
    "numpyro_flowkit": Library("jax", ALL + RESIDUAL + IMAGES, "ppl-flowkit"),
    "numpyro": Library("jax", ("maf",), "numpyro"),
    "flowjax": Library("jax", ALL, "flowjax"),
    "distrax": Library("jax", ("realnvp", "lu"), "distrax"),
}
OURS = {"torch": "pyro_flowkit", "jax": "numpyro_flowkit"}
BACKENDS = tuple(OURS)
