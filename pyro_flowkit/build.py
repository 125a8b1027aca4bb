"""Compile a spec into the native flow."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from flowkit_core import checks, specs
from flowkit_core.checkpoint import mismatch
from flowkit_core.specs.image_layers import InnerSpec
from pyro_flowkit import transforms
from pyro_flowkit.conditioners import MADE, MLP, ConvNet, draw_arrays
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
        ValueError: if names, shapes or dtypes of the arrays do not fit the spec.

    Example:
        >>> from flowkit_core import recipes
        >>> flow = build(recipes.maf(3, num_layers=1, hidden_dims=(8,)), seed=1)
        >>> flow(torch.ones(2, 3))
        tensor([[1., 1., 1.],
                [1., 1., 1.]], grad_fn=<ViewBackward0>)
    """
    checks.instance("spec", spec, specs.FlowSpec)
    if arrays is None:
        arrays = draw_arrays(spec.arrays(), torch.Generator().manual_seed(seed))
    problem = mismatch(spec, arrays)
    if problem:
        raise ValueError(f"arrays: {problem}")
    return _compile(spec, arrays)


def _compile(spec: specs.FlowSpec, arrays: Arrays) -> transforms.Flow:
    if type(spec) not in _COMPILERS:
        raise TypeError(f"spec: expected a known flow spec, got {type(spec).__name__}")
    return _COMPILERS[type(spec)](spec, arrays)


def _inside(prefix: str, arrays: Arrays) -> dict[str, Tensor]:
    """The arrays under ``prefix.``, without it."""
    start = f"{prefix}."
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _autoregressive(
    cls: type[transforms.Autoregressive], spec: specs.AutoregressiveSpec, arrays: Arrays
) -> transforms.Flow:
    return cls(
        MADE(spec.conditioner, _inside("conditioner", arrays)),
        law_from_spec(spec.law),
        spec.order,
        context_dim=spec.context_dim,
        free=arrays.get("free"),
        inverse=spec.inverse,
        spec=spec,
    )


def _coupling(spec: specs.CouplingSpec, arrays: Arrays) -> transforms.Flow:
    return transforms.Coupling(
        spec.mask,
        MLP(spec.conditioner, _inside("conditioner", arrays)),
        law_from_spec(spec.law),
        context_dim=spec.context_dim,
        free=arrays.get("free"),
        volume_preserving=spec.volume_preserving,
        spec=spec,
    )


def _planar(spec: specs.PlanarSpec, arrays: Arrays) -> transforms.Flow:
    net = spec.conditioner
    return transforms.Planar(
        arrays["weight"],
        arrays["bias"],
        arrays["direction"],
        activation=spec.activation,
        conditioner=None if net is None else MLP(net, _inside("conditioner", arrays)),
        context_dim=spec.context_dim,
        max_iterations=spec.max_iterations,
        spec=spec,
    )


def _image_coupling(spec: specs.ImageCouplingSpec, arrays: Arrays) -> transforms.Flow:
    return transforms.ImageCoupling(
        spec.image_shape,
        spec.mask,
        ConvNet(spec.conditioner, _inside("conditioner", arrays)),
        law_from_spec(spec.law),
        context_dim=spec.context_dim,
        free=arrays.get("free"),
        spec=spec,
    )


def _inner(spec: InnerSpec, arrays: Arrays) -> Any:
    return _compile(spec.inner, _inside("inner", arrays))


def _compose(spec: specs.ComposeSpec, arrays: Arrays) -> transforms.Flow:
    layers = [
        _compile(layer, _inside(f"layers.{i}", arrays)) for i, layer in enumerate(spec.layers)
    ]
    return transforms.Compose(layers)


# A new layer is one row here.
_COMPILERS: dict[type[specs.FlowSpec], Callable[[Any, Arrays], transforms.Flow]] = {
    specs.MaskedAutoregressiveSpec: lambda spec, arrays: _autoregressive(
        transforms.MaskedAutoregressive, spec, arrays
    ),
    specs.InverseAutoregressiveSpec: lambda spec, arrays: _autoregressive(
        transforms.InverseAutoregressive, spec, arrays
    ),
    specs.CouplingSpec: _coupling,
    specs.ImageCouplingSpec: _image_coupling,
    specs.SqueezedSpec: lambda spec, arrays: transforms.Squeezed(_inner(spec, arrays)),
    specs.OnChannelsSpec: lambda spec, arrays: transforms.OnChannels(
        _inner(spec, arrays), spec.num_channels
    ),
    specs.PerPixelSpec: lambda spec, arrays: transforms.PerPixel(
        _inner(spec, arrays), spec.height, spec.width
    ),
    specs.Conv1x1Spec: lambda spec, arrays: transforms.Conv1x1(
        _inner(spec, arrays), spec.height, spec.width
    ),
    specs.FlattenedSpec: lambda spec, arrays: transforms.Flattened(
        _inner(spec, arrays), spec.image_shape
    ),
    specs.LULinearSpec: transforms.LULinear,
    specs.QRLinearSpec: transforms.QRLinear,
    specs.DiagonalAffineSpec: transforms.DiagonalAffine,
    specs.TriangularAffineSpec: transforms.TriangularAffine,
    specs.HouseholderLinearSpec: transforms.HouseholderLinear,
    specs.LowRankLinearSpec: transforms.LowRankLinear,
    specs.ActNormSpec: transforms.ActNorm,
    specs.BatchNormSpec: transforms.BatchNorm,
    specs.LogitSpec: lambda spec, arrays: transforms.Logit(spec),
    specs.PermutationSpec: lambda spec, arrays: transforms.Permutation(spec),
    specs.PlanarSpec: _planar,
    specs.SylvesterSpec: transforms.Sylvester,
    specs.ComposeSpec: _compose,
}
