"""Our flows as architecture and arrays, the same for both wings."""

import inspect

from benchmarks.weights import draw_named, load_named
from flowkit_core import masks, recipes, specs


def spec_and_arrays(case):
    """Spec of the case's flow and its weights by name, numpy float32.

    Raises:
        ValueError: if this version has no choice of the sequential algorithm.
    """
    networks = {"num_layers": case.layers, "hidden_dims": (case.hidden, case.hidden)}
    if case.family == "image_coupling":
        spec = _image_coupling(case)
    elif case.family == "conv1x1":
        channels, height, width = case.image_shape
        spec = specs.Conv1x1Spec(specs.LULinearSpec(channels), height, width)
    elif case.family == "lu":
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


def _image_coupling(case):
    mask = specs.ChannelMask(masks.half_mask(case.image_shape[0]))
    law, (seen, moved) = specs.AffineLaw(), mask.channels(case.image_shape)
    net = specs.ConvNetSpec(
        hidden_dims=(case.hidden, case.hidden),
        activation="relu",
        context_dim=0,
        num_inputs=seen,
        num_outputs=law.num_conditioned * moved,
        residual=False,
        weight_norm=False,
    )
    return specs.ImageCouplingSpec(case.image_shape, mask, net, law)
