"""flowjax: layers under one scan, as in its own flow constructors, mapped over the batch."""

import equinox as eqx
import jax
import jax.numpy as jnp
import paramax
from flowjax.bijections import (
    Affine,
    Chain,
    Coupling,
    Flip,
    MaskedAutoregressive,
    Permute,
    Scan,
    TriangularAffine,
)

from benchmarks.peers.jax_flow import JaxFlow
from benchmarks.weights import draw_named


def build(case):
    if case.family == "lu":
        bijection = _lu(case.dim)
    else:
        keys = jax.random.split(jax.random.key(0), case.layers)
        bijection = Scan(eqx.filter_vmap(_layer(case))(keys))
    # A MAF scores in the layer's parallel direction.
    scores_forward = case.family == "maf"
    params, rest = eqx.partition(bijection, eqx.is_inexact_array)
    fixed, static = eqx.partition(rest, eqx.is_array)

    def run(method):
        def call(params, fixed, values):
            whole = paramax.unwrap(eqx.combine(params, fixed, static))
            return jax.vmap(getattr(whole, method))(values)

        return call

    forward, inverse = run("transform_and_log_det"), run("inverse_and_log_det")
    score, sample = (forward, inverse) if scores_forward else (inverse, forward)
    return JaxFlow(params, score, sample, fixed, linear=case.family == "lu")


def _layer(case):
    nets = {"nn_width": case.hidden, "nn_depth": 2}

    def maf(key):
        layer = MaskedAutoregressive(key, transformer=Affine(), dim=case.dim, **nets)
        return Chain([layer, Flip((case.dim,))])

    def coupling(key):
        half = case.dim // 2
        layer = Coupling(key, transformer=Affine(), untransformed_dim=half, dim=case.dim, **nets)
        return Chain([layer, Permute(jnp.roll(jnp.arange(case.dim), half))])

    return {"maf": maf, "realnvp": coupling}[case.family]


def _lu(dim):
    drawn = draw_named({"lower": (dim, dim), "upper": (dim, dim), "shift": (dim,)})
    unit = jnp.eye(dim)
    lower = TriangularAffine(drawn["shift"], jnp.tril(drawn["lower"], -1) + unit)
    upper = TriangularAffine(0.0, jnp.triu(drawn["upper"], 1) + unit, lower=False)
    return Chain([upper, lower])
