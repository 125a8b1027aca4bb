"""Specs refuse nonsense and say what they got and what they expected."""

import numpy as np
import pytest

from flowkit_core import recipes as r
from flowkit_core.specs import (
    ActNormSpec,
    AdditiveLaw,
    AffineLaw,
    ComposeSpec,
    CouplingSpec,
    DiagonalAffineSpec,
    MADESpec,
    MaskedAutoregressiveSpec,
    MLPSpec,
    PermutationSpec,
)


def made(**changes):
    fields = {"hidden_dims": (4,), "activation": "relu", "context_dim": 0}
    return MADESpec(**{**fields, "input_dim": 3, "num_params": 2, "residual": False, **changes})


def mlp(**changes):
    fields = {"hidden_dims": (4,), "activation": "relu", "context_dim": 0}
    return MLPSpec(**{**fields, "num_inputs": 2, "num_outputs": 2, **changes})


def autoregressive(**changes):
    fields = {"conditioner": made(), "law": AffineLaw(), "order": (0, 1, 2), **changes}
    return MaskedAutoregressiveSpec(**fields)


def coupling(**changes):
    fields = {"mask": (True, False, True), "conditioner": mlp(), "law": AffineLaw(), **changes}
    return CouplingSpec(**fields)


REFUSED = {
    "width zero": (lambda: mlp(hidden_dims=(4, 0)), ValueError, r"dims\[1\]: .* >= 1, got 0"),
    "width below zero": (lambda: made(hidden_dims=(-2,)), ValueError, r">= 1, got -2"),
    "width float": (lambda: made(hidden_dims=(2.0,)), TypeError, r"an integer, got 2\.0"),
    "width bool": (lambda: made(hidden_dims=(True,)), TypeError, "an integer, got True"),
    "widths no sequence": (lambda: mlp(hidden_dims=8), TypeError, "a sequence, got 8"),
    "widths text": (lambda: mlp(hidden_dims="88"), TypeError, "a sequence, got '88'"),
    "widths table": (lambda: mlp(hidden_dims=np.ones((2, 2))), ValueError, "one dimension, got 2"),
    "activation": (lambda: mlp(activation="swish"), ValueError, "one of 'relu', .*got 'swish'"),
    "activation number": (lambda: made(activation=3), ValueError, "activation: .* got 3"),
    "context": (lambda: mlp(context_dim=-1), ValueError, "context_dim: .* >= 0, got -1"),
    "context bool": (lambda: mlp(context_dim=False), TypeError, "an integer, got False"),
    "inputs": (lambda: mlp(num_inputs=-1), ValueError, "num_inputs: .* >= 0, got -1"),
    "outputs": (lambda: mlp(num_outputs=0), ValueError, "num_outputs: .* >= 1, got 0"),
    "dimension": (lambda: made(input_dim="3"), TypeError, "input_dim: .* integer, got '3'"),
    "parameters": (lambda: made(num_params=None), TypeError, "num_params: .* got None"),
    "residual int": (lambda: made(residual=1), TypeError, "residual: .* True or False, got 1"),
    "residual unequal": (
        lambda: made(residual=True, hidden_dims=(4, 5)), ValueError, r"equal widths, got \(4, 5\)"
    ),
    "residual none": (
        lambda: made(residual=True, hidden_dims=()), ValueError, r"equal widths, got \(\)"
    ),
    "bound zero": (lambda: AffineLaw(bound=0), ValueError, "bound: .* finite number > 0, got 0"),
    "bound nan": (lambda: AffineLaw(bound=float("nan")), ValueError, "finite number > 0, got nan"),
    "bound beyond floats": (lambda: AffineLaw(bound=10**400), ValueError, "finite number > 0"),
    "bound bool": (lambda: AffineLaw(bound=True), TypeError, "bound: .* a number, got True"),
    "bound text": (lambda: AffineLaw(bound="2"), TypeError, "bound: .* a number, got '2'"),
    "law for network": (
        lambda: autoregressive(conditioner=AffineLaw()), TypeError, "a MADESpec, got AffineLaw"
    ),
    "other network": (lambda: coupling(conditioner=made()), TypeError, "a MLPSpec, got MADESpec"),
    "network for law": (lambda: coupling(law=mlp()), TypeError, "law: .* a LawSpec, got MLPSpec"),
    "order twice": (
        lambda: autoregressive(order=(0, 1, 1)), ValueError, r"exactly once, got \(0, 1, 1\)"
    ),
    "order short": (lambda: autoregressive(order=(0, 1)), ValueError, "3 indices.*, got 2"),
    "order empty": (lambda: PermutationSpec(()), ValueError, "at least one index, got none"),
    "order negative": (lambda: PermutationSpec((0, -1)), ValueError, r"order\[1\]: .* got -1"),
    "order number": (lambda: PermutationSpec(3), TypeError, "order: .* a sequence, got 3"),
    "order bool": (lambda: PermutationSpec((False, True)), TypeError, "an integer, got False"),
    "parameters of law": (
        lambda: autoregressive(law=AdditiveLaw()), ValueError, "'additive' needs 1 .*num_params=2"
    ),
    "mask of numbers": (lambda: coupling(mask=(1, 0, 1)), TypeError, r"mask\[0\]: .* got 1"),
    "mask empty": (lambda: coupling(mask=()), ValueError, "mask: .* at least one entry, got none"),
    "mask all true": (lambda: coupling(mask=(True,) * 3), ValueError, "one False.*got all 3 True"),
    "mask does not fit": (
        lambda: coupling(mask=(True, False)), ValueError, r"num_outputs\)=\(1, 2\), got \(2, 2\)"
    ),
    "law does not fit": (
        lambda: coupling(law=AdditiveLaw()), ValueError, r"num_outputs\)=\(2, 1\), got \(2, 2\)"
    ),
    "compose none": (lambda: ComposeSpec(()), ValueError, "at least one flow, got none"),
    "compose number": (lambda: ComposeSpec(3), TypeError, "layers: .* a sequence, got 3"),
    "compose law": (
        lambda: ComposeSpec((AffineLaw(),)), TypeError, r"layers\[0\]: .* a FlowSpec, got AffineLaw"
    ),
    "compose dims": (
        lambda: r.compose(r.lu_linear(2), r.lu_linear(3)), ValueError, r"input_dim, got \[2, 3\]"
    ),
    "compose contexts": (
        lambda: r.compose(r.maf(2, context_dim=1), r.maf(2, context_dim=3), r.lu_linear(2)),
        ValueError, r"one context_dim, got \[1, 3\]",
    ),
    "act_norm": (lambda: ActNormSpec(2, 1), TypeError, "started: expected True or False, got 1"),
    "linear": (lambda: DiagonalAffineSpec(0), ValueError, "input_dim: .* >= 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_nonsense_is_refused_in_words(case):
    make, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        make()
