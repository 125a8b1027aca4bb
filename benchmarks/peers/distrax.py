"""distrax: bijectors go from base to data; networks are the user's, here plain functions."""

import itertools

import distrax
import jax
import jax.numpy as jnp

from benchmarks.peers.jax_flow import JaxFlow, redraw
from benchmarks.weights import draw_named


def build(case):
    params, bijector = _lu(case.dim) if case.family == "lu" else _realnvp(case)
    return JaxFlow(
        params,
        score=lambda params, _, x: bijector(params).inverse_and_log_det(x),
        sample_and_log_det=lambda params, _, z: bijector(params).forward_and_log_det(z),
        linear=case.family == "lu",
    )


def _lu(dim):
    drawn = draw_named({"matrix": (dim, dim), "shift": (dim,)})
    params = (jnp.asarray(drawn["matrix"]) + jnp.eye(dim), jnp.asarray(drawn["shift"]))
    return params, lambda params: distrax.LowerUpperTriangularAffine(*params)


def _realnvp(case):
    half = case.dim // 2
    sizes = (half, case.hidden, case.hidden, 2 * (case.dim - half))
    shapes = [(jnp.zeros((a, b)), jnp.zeros(b)) for a, b in itertools.pairwise(sizes)]
    keys = jax.random.split(jax.random.key(0), case.layers)
    params = [redraw(shapes, key) for key in keys]

    def net(layers):
        def conditioner(values):
            for i, (weight, bias) in enumerate(layers):
                values = values @ weight + bias
                if i < len(layers) - 1:
                    values = jax.nn.relu(values)
            return jnp.split(values, 2, axis=-1)

        return conditioner

    def affine(shift_and_log_scale):
        shift, log_scale = shift_and_log_scale
        return distrax.ScalarAffine(shift=shift, log_scale=log_scale)

    def bijector(params):
        layers = [
            distrax.SplitCoupling(half, 1, net(p), affine, swap=bool(i % 2))
            for i, p in enumerate(params)
        ]
        return distrax.Chain(layers[::-1])

    return params, bijector
