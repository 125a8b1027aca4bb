"""Priors given wrong arguments: one clear error each, the same in both wings."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions
import pyro.distributions
import pytest
import torch
from numpyro import handlers

import numpyro_flowkit
import pyro_flowkit

WINGS = {"pyro": pyro_flowkit, "numpyro": numpyro_flowkit}
DISTRIBUTIONS = {"pyro": pyro.distributions, "numpyro": numpyro.distributions}
every_wing = pytest.mark.parametrize("wing", WINGS)


def tensor(wing, values):
    return jnp.asarray(values) if wing == "numpyro" else torch.tensor(values)


def numbers(wing, *shape):
    return tensor(wing, np.ones(shape))


def normal(wing):
    d = DISTRIBUTIONS[wing]
    return lambda u: d.Normal(u[:, :2], 1.0).to_event(1)


def vamp(wing, encoder=None, inputs=None, **options):
    encoder = normal(wing) if encoder is None else encoder
    inputs = numbers(wing, 4, 3) if inputs is None else inputs
    return WINGS[wing].vamp_prior("z", encoder, inputs, **options)


def with_entry(wing, value):
    start = np.full((4, 3), 0.5)
    start[2, 1] = value
    return tensor(wing, start)


def unit_interval(wing):
    return DISTRIBUTIONS[wing].constraints.unit_interval


def mixed(wing, *args, **options):
    return WINGS[wing].mixture_prior(*args, **options)


def flow_of(wing, context_dim=0):
    recipe = WINGS[wing].maf(2, num_layers=1, hidden_dims=(4,), context_dim=context_dim)
    return recipe if wing == "pyro" else recipe(jax.random.key(0))


def flow(wing, *args, **options):
    return WINGS[wing].flow_prior("z", *args, **options)


BAD = {
    "no name": (lambda w: mixed(w, None, 2, 3), TypeError, "name: expected a name"),
    "an empty name": (lambda w: mixed(w, "", 2, 3), ValueError, "name: expected"),
    "no coordinates": (lambda w: mixed(w, "z", 0, 3), ValueError, "dim: expected .* >= 1, got 0"),
    "half a coordinate": (lambda w: mixed(w, "z", 2.5, 3), TypeError, "dim: expected an integer"),
    "negative components": (
        lambda w: mixed(w, "z", 2, -3), ValueError, "num_components: expected .* >= 1, got -3"
    ),
    "a boolean of components": (lambda w: mixed(w, "z", 2, True), TypeError, "num_components"),
    "another covariance": (
        lambda w: mixed(w, "z", 2, 3, covariance="spherical"), ValueError,
        "covariance: expected one of 'diagonal', 'full', got 'spherical'",
    ),
    "a negative seed": (lambda w: mixed(w, "z", 2, 3, seed=-1), ValueError, "seed: expected"),
    "no flow": (lambda w: flow(w, 3), TypeError, "flow: expected .*, got int"),
    "a recipe that was not called": (
        lambda w: flow(w, WINGS[w].maf if w == "pyro" else WINGS[w].Flow), TypeError,
        "flow: expected",
    ),
    "a base by name": (
        lambda w: flow(w, flow_of(w), "laplace"), TypeError, "base: expected .*, got str"
    ),
    "a base of another dimension": (
        lambda w: flow(w, flow_of(w), WINGS[w].mixture_base(3)), ValueError,
        r"base: expected event shape \(2,\)",
    ),
    "no context": (
        lambda w: flow(w, flow_of(w, 3)), ValueError,
        r"context: this flow needs one of shape \(..., 3\), got none",
    ),
    "a context too many": (
        lambda w: flow(w, flow_of(w), context=numbers(w, 3)), ValueError, "this flow takes none"
    ),
    "no encoder": (lambda w: vamp(w, 3), TypeError, "encoder: expected a function.*got int"),
    "an encoder's class": (
        lambda w: vamp(w, DISTRIBUTIONS[w].Normal), TypeError, "encoder: .*got Normal"
    ),
    "an encoder that returns a pair": (
        lambda w: vamp(w, lambda u: (u, u)), TypeError,
        r"encoder: expected it to return a distribution.*to_event\(1\), got tuple",
    ),
    "an encoder of single numbers": (
        lambda w: vamp(w, lambda u: DISTRIBUTIONS[w].Normal(u, 1.0)), ValueError,
        r"batch shape \(4,\).*got batch shape \(4, 3\) and event shape \(\); to_event\(1\)",
    ),
    "an encoder of one posterior": (
        lambda w: vamp(w, lambda u: DISTRIBUTIONS[w].Normal(u[0], 1.0).to_event(1)), ValueError,
        r"encoder: .*got batch shape \(\)",
    ),
    "an encoder of matrices": (
        lambda w: vamp(w, lambda u: DISTRIBUTIONS[w].Normal(u[..., None], 1.0).to_event(2)),
        ValueError, r"event shape \(D,\), got .*\(3, 1\)",
    ),
    "supports that depend on inputs": (
        lambda w: vamp(w, lambda u: DISTRIBUTIONS[w].Uniform(u, u + 1.0).to_event(1)), ValueError,
        "encoder: expected distributions that all have one support",
    ),
    "no pseudo-inputs": (
        lambda w: vamp(w, inputs=numbers(w, 0, 3)), ValueError,
        r"pseudo_inputs: expected shape \(K, ...\) with at least one .*got \(0, 3\)",
    ),
    "a single number": (
        lambda w: vamp(w, inputs=tensor(w, 1.0)), ValueError, r"pseudo_inputs: .*got \(\)"
    ),
    "integers": (
        lambda w: vamp(w, inputs=np.ones((4, 3), int)), TypeError,
        "pseudo_inputs: expected .* floating numbers, got int64",
    ),
    "a list": (lambda w: vamp(w, inputs=[[1.0]]), TypeError, "pseudo_inputs: .*got list"),
    "NaN": (
        lambda w: vamp(w, inputs=with_entry(w, np.nan)), ValueError,
        "pseudo_inputs: expected finite numbers, got NaN or inf in rows 2",
    ),
    "outside of the constraint": (
        lambda w: vamp(w, inputs=with_entry(w, 1.5), constraint=unit_interval(w)), ValueError,
        "pseudo_inputs: expected values inside of the constraint, .* got 1 outside",
    ),
    "at the edge of the constraint": (
        lambda w: vamp(w, inputs=with_entry(w, 0.0), constraint=unit_interval(w)), ValueError,
        "pseudo_inputs: .* got 1 outside or at its edge, from where they could not move",
    ),
    "no constraint": (
        lambda w: vamp(w, constraint="unit_interval"), TypeError, "constraint: expected a Const"
    ),
    "too few weights": (
        lambda w: vamp(w, weights=[1.0, 2.0]), ValueError,
        r"weights: expected shape \(4,\), one for each pseudo-input, got \(2,\)",
    ),
    "a weight of zero": (
        lambda w: vamp(w, weights=[1.0, 2.0, 0.0, 1.0]), ValueError, "weights: .* > 0"
    ),
    "learn_weights as a number": (
        lambda w: vamp(w, learn_weights=1), TypeError, "learn_weights: expected True or False"
    ),
}  # fmt: skip


@every_wing
@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(wing, case):
    call, error, message = BAD[case]
    with handlers.seed(rng_seed=0), pytest.raises(error, match=message):
        call(wing)
