"""Ours, in JAX."""

import jax.numpy as jnp

from benchmarks.peers.jax_flow import JaxFlow
from benchmarks.peers.ours import spec_and_arrays
from numpyro_flowkit.build import build as build_spec


def flow_of(case, dtype=jnp.float32):
    """The case's flow itself."""
    spec, arrays = spec_and_arrays(case)
    return build_spec(spec, {name: jnp.asarray(array, dtype) for name, array in arrays.items()})


def build(case):
    return JaxFlow(
        params=flow_of(case),
        score=lambda flow, _, x: flow.inverse_and_log_det(x),
        sample_and_log_det=lambda flow, _, z: flow.forward_and_log_det(z),
        linear=case.family == "lu",
    )
