"""Compile a spec into the native flow."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from flowkit_core import specs
from pyro_flowkit import transforms
from pyro_flowkit.conditioners import MADE, MLP, draw_arrays
from pyro_flowkit.laws import law_from_spec

Arrays = Mapping[str, Tensor]


def build(spec: specs.FlowSpec, arrays: Arrays | None = None, *, seed: int = 0) -> transforms.Flow:
    """The flow that ``spec`` describes.

    Args:
        spec: the architecture.
        arrays: weights under the names of ``spec.arrays()``; drawn from ``seed`` if left out, in
            torch's default dtype, on the CPU.
        seed: seed of the drawn weights; every layer starts as the identity whatever it is.

    Raises:
        TypeError: for a spec of a kind that this wing does not know.

    Example:
        >>> from flowkit_core import recipes
        >>> flow = build(recipes.maf(3, num_layers=1, hidden_dims=(8,)), seed=1)
        >>> flow(torch.ones(2, 3))
        tensor([[1., 1., 1.],
                [1., 1., 1.]], grad_fn=<ViewBackward0>)
    """
    if type(spec) not in _BUILDERS:
        raise TypeError(f"spec: expected a known flow spec, got {type(spec).__name__}")
    if arrays is None:
        arrays = draw_arrays(spec.arrays(), torch.Generator().manual_seed(seed))
    return _BUILDERS[type(spec)](spec, arrays)


def _under(prefix: str, arrays: Arrays) -> dict[str, Tensor]:
    """The arrays below a dotted prefix, under their names relative to it."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _autoregressive(
    cls: type[transforms.Autoregressive], spec: specs.AutoregressiveSpec, arrays: Arrays
) -> transforms.Flow:
    return cls(
        MADE(spec.conditioner, _under("conditioner", arrays)),
        law_from_spec(spec.law),
        spec.order,
        context_dim=spec.context_dim,
        free=arrays.get("free"),
        spec=spec,
    )


def _coupling(spec: specs.CouplingSpec, arrays: Arrays) -> transforms.Flow:
    return transforms.Coupling(
        spec.mask,
        MLP(spec.conditioner, _under("conditioner", arrays)),
        law_from_spec(spec.law),
        context_dim=spec.context_dim,
        free=arrays.get("free"),
        spec=spec,
    )


def _compose(spec: specs.ComposeSpec, arrays: Arrays) -> transforms.Flow:
    layers = [build(layer, _under(f"layers.{i}", arrays)) for i, layer in enumerate(spec.layers)]
    return transforms.Compose(layers)


_BUILDERS: dict[type[specs.FlowSpec], Callable[[Any, Arrays], transforms.Flow]] = {
    specs.MaskedAutoregressiveSpec: lambda spec, arrays: _autoregressive(
        transforms.MaskedAutoregressive, spec, arrays
    ),
    specs.InverseAutoregressiveSpec: lambda spec, arrays: _autoregressive(
        transforms.InverseAutoregressive, spec, arrays
    ),
    specs.CouplingSpec: _coupling,
    specs.LULinearSpec: transforms.LULinear,
    specs.QRLinearSpec: transforms.QRLinear,
    specs.DiagonalAffineSpec: transforms.DiagonalAffine,
    specs.PermutationSpec: lambda spec, arrays: transforms.Permutation(spec),
    specs.ComposeSpec: _compose,
}
