"""A layer's architecture and weights as the C side wants them."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from flowkit_core.specs import MADESpec
from flowkit_core.sweep import sweep_steps
from pyro_flowkit.laws import Additive, Affine, Inverted, Law

# In the order of the enum in tile.h.
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh")

Pointer = ctypes.c_void_p


def _struct(real: type[ctypes.c_float] | type[ctypes.c_double]) -> type[ctypes.Structure]:
    """`Layer` of tile.h."""
    numbers = ("dims", "params", "hidden", "activation", "affine", "inverted", "steps")
    arrays = ("widths", "positions", "units", "weights", "biases", "context", "free")

    class Layer(ctypes.Structure):
        _fields_ = [
            *((name, ctypes.c_int64) for name in numbers),
            *((name, Pointer) for name in arrays),
            ("bound", real),
        ]

    return Layer


STRUCTS = {torch.float32: _struct(ctypes.c_float), torch.float64: _struct(ctypes.c_double)}


@lru_cache(maxsize=256)
def _plan(spec: MADESpec) -> tuple[Tensor, Tensor, Tensor]:
    """Widths, first position of each step, and how many units are known before each step."""
    steps = sweep_steps(spec)
    positions = [*(step.start for step in steps), spec.input_dim]
    units = [
        [*(step.units[i][0] for step in steps), steps[-1].units[i][1]]
        for i in range(len(spec.degrees))
    ]
    a, b, c = (torch.tensor(v, dtype=torch.int64) for v in (spec.hidden_dims, positions, units))
    return a, b, c


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
        struct: `Layer` of tile.h.
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
    widths, positions, units = _plan(spec)
    tables = addresses(weights), addresses(biases)
    struct = STRUCTS[dtype](
        dims=spec.input_dim,
        params=spec.num_params,
        hidden=len(spec.hidden_dims),
        activation=ACTIVATIONS.index(spec.activation),
        affine=isinstance(inner, Affine),
        inverted=inner is not law,
        steps=len(positions) - 1,
        widths=widths.data_ptr(),
        positions=positions.data_ptr(),
        units=units.data_ptr(),
        weights=ctypes.cast(tables[0], Pointer),
        biases=ctypes.cast(tables[1], Pointer),
        context=address(term),
        free=address(free),
        bound=inner.bound if isinstance(inner, Affine) else 1.0,
    )
    owners = (*weights, *biases, term, free, widths, positions, units, *tables)
    return NativeLayer(struct, owners, sum(w.numel() for w in weights))
