"""Our flows as architecture and arrays, the same for both wings."""

import inspect

from benchmarks.weights import draw_named, load_named
from flowkit_core import recipes


def spec_and_arrays(case):
    """Spec of the case's flow and its weights by name, numpy float32.

    Raises:
        ValueError: if this version has no choice of the sequential algorithm.
    """
    networks = {"num_layers": case.layers, "hidden_dims": (case.hidden, case.hidden)}
    if case.family == "lu":
        spec = recipes.lu_linear(case.dim)
    elif case.family == "planar":
        spec = recipes.planar(case.dim, num_layers=case.layers)
    elif case.family == "sylvester":
        spec = recipes.sylvester(
            case.dim, num_layers=case.layers, rank=case.dim, kind="householder", num_reflections=1
        )
    elif case.family == "realnvp":
        spec = recipes.realnvp(case.dim, **networks)
    else:
        if case.inverse is not None:
            if "inverse" not in inspect.signature(recipes.maf).parameters:
                raise ValueError("this version's maf has no inverse=")
            networks["inverse"] = case.inverse
        spec = recipes.maf(case.dim, **networks)
    if case.weights is not None:
        return spec, load_named(case.weights)
    return spec, draw_named({array.name: array.shape for array in spec.arrays()})
