"""Random weights on the scale that frameworks start from, in every array.

Our flows start as the identity, with zero output layers: nobody is to be timed on the identity.
"""

import math

import numpy as np

# Arrays of linear and residual layers whose scale is that of their length.
VECTORS = ("log_diagonal", "shift", "weight", "bias", "direction")


def draw_named(shapes, seed=0):
    """Uniform in +-1/sqrt(fan_in) for each name -> shape of our flows, biases included.

    Networks name their arrays ``weight_i`` and ``bias_i``. Free parameters of a law stay zero.
    The matrices and vectors of a linear layer are drawn on the scale of its width.
    """
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes.items():
        prefix, _, last = name.rpartition(".")
        kind, _, index = last.rpartition("_")
        if kind in ("weight", "bias") and index.isdigit():
            weight = shapes[f"{prefix}.weight_{index}" if prefix else f"weight_{index}"]
            fan_in = math.prod(weight[1:])
        elif (len(shape) == 2 and shape[0] == shape[1]) or last in VECTORS:
            fan_in = shape[-1]
        elif last == "reflections":
            fan_in = shape[0]
        else:
            arrays[name] = np.zeros(shape, np.float32)
            continue
        bound = 1 / np.sqrt(fan_in)
        arrays[name] = generator.uniform(-bound, bound, shape).astype(np.float32)
    return arrays


def load_named(path):
    """Named arrays of a file written by `save_named`."""
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def save_named(path, arrays):
    """Write named arrays."""
    np.savez(path, **arrays)
