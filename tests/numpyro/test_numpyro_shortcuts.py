"""Shortcuts that must not show: halves of couplings kept apart, products cut in two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numpyro_flowkit as fk
from flowkit_core.specs import ComposeSpec, MADESpec, PermutationSpec
from numpyro_flowkit.conditioners.base import product
from numpyro_flowkit.conditioners.blocks import cut_of, masked_product
from numpyro_flowkit.transforms.halves import CouplingRun, join_couplings
from tests.cases import arrays_for, coupling
from tests.numpyro.helpers import assert_close, points


def flow_of(*specs):
    spec = ComposeSpec(specs)
    arrays = {name: jnp.asarray(a) for name, a in arrays_for(spec).items()}
    return fk.build(spec, arrays)


EVEN, ODD, FIRST = (True, False, True, False, True), (False, True, False, True, False), (True,) * 2
FIRST += (False,) * 3
SWAP = PermutationSpec((1, 0, 2, 4, 3))
RUNS = {
    "one mask": ([EVEN, EVEN], [2]),
    "roles exchanged": ([EVEN, ODD, ODD, EVEN], [4]),
    "another mask": ([EVEN, ODD, FIRST, FIRST, EVEN], [2, 2, 1]),
    "a permutation between": ([EVEN, SWAP, EVEN, ODD], [1, None, 2]),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("context_dim", [0, 2])
def test_halves_kept_apart_are_layers_one_by_one(name, context_dim):
    layers, lengths = RUNS[name]
    specs = [
        spec if isinstance(spec, PermutationSpec) else coupling(spec, context_dim=context_dim)
        for spec in layers
    ]
    flow, z = flow_of(*specs), points(6, 5)
    context = points(6, 2, seed=3) if context_dim else None
    joined = join_couplings(flow.layers)
    assert [len(p.layers) if isinstance(p, CouplingRun) else None for p in joined] == lengths
    x, log_det, value = *flow.forward_and_log_det(z, context), z
    total = jnp.zeros(6)
    for layer in flow.layers:
        value, change = layer.forward_and_log_det(value, context if layer.context_dim else None)
        total = total + change
    assert_close((x, log_det), (value, total), 1e-11, 1e-11)
    back, inverse_log_det = flow.inverse_and_log_det(x, context)
    assert_close((back, inverse_log_det), (z, -log_det), 1e-9, 1e-9)


@pytest.mark.parametrize("input_dim", [1, 2, 33, 65, 200])
@pytest.mark.parametrize("num_params", [1, 2, 5])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("context_dim", [0, 1])
def test_products_cut_in_two_are_whole_products(input_dim, num_params, residual, context_dim):
    spec = MADESpec((96, 96, 96), "relu", context_dim, input_dim, num_params, residual)
    cuts = [cut_of(spec, layer) for layer in range(len(spec.masks))]
    assert any(cuts) == (input_dim > 2 or (input_dim == 2 and context_dim > 0))
    for layer, mask in enumerate(spec.masks):
        rng = np.random.default_rng(layer)
        weight = jnp.asarray(np.where(mask, rng.normal(size=mask.shape), 0))
        for batch in ((), (3,), (2, 3)):
            inputs = points(*batch, mask.shape[1])
            got = masked_product(inputs, weight, spec, layer)
            assert_close(got, product(inputs, weight), 1e-13, 1e-13)


def test_gradients_of_a_cut_product():
    spec = MADESpec((96, 96), "relu", 0, 40, 2, False)
    assert cut_of(spec, 2) is not None
    mask = np.asarray(spec.masks[2])
    weight = jnp.asarray(np.where(mask, np.random.default_rng(0).normal(size=mask.shape), 0))
    inputs, sign = points(5, mask.shape[1]), points(5, len(mask), seed=2)

    def cut(inputs, weight):
        masked = jnp.where(mask, weight, 0)
        return (masked_product(inputs, masked, spec, 2) * sign).sum()

    def whole(inputs, weight):
        return (product(inputs, jnp.where(mask, weight, 0)) * sign).sum()

    got, expected = (jax.grad(f, (0, 1))(inputs, weight) for f in (cut, whole))
    assert_close(got, expected, 1e-12, 1e-12)
