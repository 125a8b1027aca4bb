"""Laws: the mathematics of one coordinate, given its parameters.

A law knows nothing of networks. A new law is one file here and one row in ``_LAWS`` (and its spec
in `flowkit_core.specs.laws`).
"""

from collections.abc import Callable
from typing import Any

from flowkit_core import specs
from pyro_flowkit.laws.additive import Additive
from pyro_flowkit.laws.affine import Affine
from pyro_flowkit.laws.base import Law, Params
from pyro_flowkit.laws.centred import Centred
from pyro_flowkit.laws.inverted import Inverted
from pyro_flowkit.laws.spline import Spline

__all__ = [
    "Additive",
    "Affine",
    "Centred",
    "Inverted",
    "Law",
    "Params",
    "Spline",
    "law_from_spec",
]

_LAWS: dict[type[specs.LawSpec], Callable[[Any], Law]] = {
    specs.AdditiveLaw: lambda spec: Additive(),
    specs.AffineLaw: lambda spec: Affine(bound=spec.bound),
    specs.SplineLaw: lambda spec: Spline(spec.num_bins, spec.bound, spec.soft_bound),
}


def law_from_spec(spec: specs.LawSpec) -> Law:
    """The law that a spec describes."""
    return _LAWS[type(spec)](spec)
