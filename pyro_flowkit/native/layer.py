"""A layer's architecture and weights as the C side wants them."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flowkit_core.native.plan import ACTIVATIONS, tables
from flowkit_core.specs import MADESpec
from pyro_flowkit.laws import Additive, Affine, Inverted, Law

Pointer = ctypes.c_void_p


def _struct(real: type[ctypes.c_float] | type[ctypes.c_double]) -> type[ctypes.Structure]:
    """`Layer` of layer.h."""
    numbers = (
        "dims",
        "params",
        "hidden",
        "activation",
        "affine",
        "inverted",
        "steps",
        "by_feature",
    )
    arrays = ("widths", "positions", "units", "weights", "biases", "context", "free")

    class Layer(ctypes.Structure):
        _fields_ = [
            *((name, ctypes.c_int64) for name in numbers),
            *((name, Pointer) for name in arrays),
            ("bound", real),
        ]

    return Layer


STRUCTS = {torch.float32: _struct(ctypes.c_float), torch.float64: _struct(ctypes.c_double)}


def address(tensor: Tensor | None) -> int | None:
    """Where the numbers of a dense tensor are."""
    return None if tensor is None else tensor.data_ptr()


def addresses(tensors: Sequence[Tensor]) -> "ctypes.Array[Pointer]":
    """The same for a list of tensors, as an array of pointers."""
    return (Pointer * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


@dataclass(frozen=True)
class NativeLayer:
    """The C structure, and everything that it points to.

    Args:
        struct: `Layer` of layer.h.
        owners: what must live as long as the structure is used.
        work: multiplications for each point.
    """

    struct: ctypes.Structure
    owners: tuple[object, ...]
    work: int


def supported(spec: MADESpec, law: Law, device: torch.device) -> bool:
    """Whether there is C for such a layer: plain networks with an affine or additive law."""
    inner = law.law if isinstance(law, Inverted) else law
    return device.type == "cpu" and not spec.residual and type(inner) in (Additive, Affine)


def native_layer(
    spec: MADESpec,
    law: Law,
    arrays: Mapping[str, Tensor],
    context: Tensor | None,
    free: Tensor | None,
    dtype: torch.dtype,
) -> NativeLayer:
    """Fill the structure; see `compiled_sweep` for the arguments."""
    inner = law.law if isinstance(law, Inverted) else law
    numbers = range(len(spec.hidden_dims) + 1)
    weights = [arrays[f"weight_{i}"].detach().contiguous() for i in numbers]
    biases = [arrays[f"bias_{i}"].detach().contiguous() for i in numbers]
    term = None if context is None else context @ arrays["context_weight"].T
    free = None if free is None else free.detach().contiguous()
    plan = widths, positions, units = tables(spec)
    pointers = addresses(weights), addresses(biases)
    struct = STRUCTS[dtype](
        dims=spec.input_dim,
        params=spec.num_params,
        hidden=len(spec.hidden_dims),
        activation=ACTIVATIONS.index(spec.activation),
        affine=isinstance(inner, Affine),
        inverted=inner is not law,
        steps=len(positions) - 1,
        by_feature=False,
        widths=widths.ctypes.data,
        positions=positions.ctypes.data,
        units=units.ctypes.data,
        weights=ctypes.cast(pointers[0], Pointer),
        biases=ctypes.cast(pointers[1], Pointer),
        context=address(term),
        free=address(free),
        bound=inner.bound if isinstance(inner, Affine) else 1.0,
    )
    owners = (*weights, *biases, term, free, *plan, *pointers)
    return NativeLayer(struct, owners, sum(w.numel() for w in weights))
