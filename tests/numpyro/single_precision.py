"""What every recipe does with JAX's defaults, as JSON; run by the tests in a process of its own.

``python -m tests.numpyro.single_precision FOLDER``; the folder holds ``double.safetensors``.
"""

import json
import sys
import warnings

import jax
import jax.numpy as jnp

import numpyro_flowkit as fk
from tests.numpyro.helpers import RECIPES, large, points

# Every kind of layer once.
KINDS = ("maf", "iaf", "nice", "lu_linear", "qr_linear", "permute")


@jax.jit
def outputs(flow, z, key):
    """Whatever a flow returns, and how far a round trip goes astray."""

    def pushed(flow):
        x, log_det, score = flow.forward_and_score(z, -z)
        return x.sum() + log_det.sum(), (x, log_det, score)

    gradient, (x, log_det, score) = jax.grad(pushed, has_aux=True)(flow)
    back, opposite = flow.inverse_and_log_det(x)
    density = fk.FlowDistribution(flow)
    arrays = [x, log_det, score, back, opposite, density.sample(key, (2,)), density.log_prob(x)]
    size = 1 + jnp.abs(x).max()
    errors = jnp.abs(back - z).max() / size, jnp.abs(log_det + opposite).max() / size
    return arrays, jax.tree.leaves(gradient), errors


def report(init):
    """Dtypes of a fresh flow and of one with large weights, errors of the round trip, refusals."""
    flow, z = large(init, dtype="float32"), points(5, 4, dtype="float32")
    arrays, gradient, errors = outputs(flow, z, jax.random.key(0))
    try:
        init(jax.random.key(0), dtype="float64")
    except ValueError as refusal:
        message = str(refusal)
    return {
        "fresh": [str(leaf.dtype) for leaf in jax.tree.leaves(init(jax.random.key(0)))],
        "outputs": [str(array.dtype) for array in arrays],
        "gradient": [str(leaf.dtype) for leaf in gradient],
        "errors": [float(error) for error in errors],
        "refusal": message,
    }


def loaded(folder):
    """Dtypes and warnings of a float64 checkpoint."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flow = fk.load_flow(f"{folder}/double.safetensors")
    fk.save_flow(flow, f"{folder}/single.safetensors")
    return {
        "dtypes": [str(leaf.dtype) for leaf in jax.tree.leaves(flow)],
        "warnings": [f"{w.category.__name__}: {w.message}" for w in caught],
        "file": caught[0].filename,
    }


if __name__ == "__main__":
    warnings.simplefilter("error")
    result = {name: report(RECIPES[name](4)) for name in KINDS}
    print(json.dumps({"recipes": result, "loaded": loaded(sys.argv[1])}))
