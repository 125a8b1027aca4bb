"""From a spec to a flow: compile a spec and its arrays, or draw the arrays from a key."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from flowkit_core import checks, specs
from flowkit_core.checkpoint import mismatch
from flowkit_core.specs import FlowSpec
from flowkit_core.specs.image_layers import InnerSpec
from numpyro_flowkit.conditioners import MADE, MLP, ConvNet, draw_arrays
from numpyro_flowkit.laws import law_from_spec
from numpyro_flowkit.transforms import (
    ActNorm,
    Autoregressive,
    BatchNorm,
    Compose,
    Conv1x1,
    Coupling,
    DiagonalAffine,
    Flattened,
    Flow,
    HouseholderLinear,
    ImageCoupling,
    InverseAutoregressive,
    Logit,
    LowRankLinear,
    LULinear,
    MaskedAutoregressive,
    OnChannels,
    Permutation,
    PerPixel,
    Planar,
    QRLinear,
    Squeezed,
    Sylvester,
    TriangularAffine,
)

Arrays = Mapping[str, Array]


def build(spec: FlowSpec, arrays: Arrays) -> Flow:
    """The flow of an architecture with given weights.

    Args:
        spec: the architecture.
        arrays: one float32 or float64 array per entry of ``spec.arrays()``.

    Raises:
        TypeError: for a spec of a kind that this wing does not know.
        ValueError: if names, shapes or dtypes of the arrays do not fit the spec.

    Example:
        >>> from flowkit_core.recipes import permute
        >>> build(permute(2, order=(1, 0)), {})
        Permutation(input_dim=2, order=reverse)  # 0 parameters
    """
    checks.instance("spec", spec, FlowSpec)
    converted = {name: jnp.asarray(array) for name, array in arrays.items()}
    problem = mismatch(spec, converted)
    if problem:
        raise ValueError(f"arrays: {problem}")
    return _compile(spec, converted)


@dataclass(frozen=True, repr=False)
class FlowInit:
    """What a recipe returns: an architecture that becomes a flow when called with a key.

    It is a function from a key to a flow, so ``numpyro.param("flow", maf(8))`` registers the flow's
    weights under that name. It compares by value, pickles, and may be called under ``jit`` and
    ``vmap`` (which gives a batch of flows).

    Args:
        spec: the architecture.

    Example:
        >>> import jax
        >>> from numpyro_flowkit import iaf
        >>> init = iaf(3, num_layers=2)
        >>> init(jax.random.key(0))(jnp.zeros((4, 3))).shape
        (4, 3)
    """

    spec: FlowSpec

    def __post_init__(self) -> None:
        checks.instance("spec", self.spec, FlowSpec)

    @property
    def input_dim(self) -> int:
        """Number of coordinates D."""
        return self.spec.input_dim

    @property
    def context_dim(self) -> int:
        """Length of the context; 0 for an unconditional flow."""
        return self.spec.context_dim

    def __call__(self, rng_key: Array, *, dtype: DTypeLike | None = None) -> Flow:
        """Draw the weights; the flow is the identity until it is trained.

        Args:
            rng_key: the only source of randomness.
            dtype: of the weights, "float32" or "float64"; None for JAX's default float.

        Raises:
            ValueError: for another dtype, or for float64 while JAX's x64 mode is off.
        """
        if dtype is not None:
            _check_dtype(dtype)
        return build(self.spec, draw_arrays(rng_key, self.spec.arrays(), dtype=dtype))

    def __repr__(self) -> str:
        return f"FlowInit({self.spec})"


def _check_dtype(dtype: DTypeLike) -> None:
    name = np.dtype(dtype).name
    checks.choice("dtype", name, ("float32", "float64"))
    if name == "float64" and jnp.result_type(float) != np.float64:
        raise ValueError('dtype: float64 needs jax.config.update("jax_enable_x64", True)')


def _compile(spec: FlowSpec, arrays: Arrays) -> Flow:
    if type(spec) not in _COMPILERS:
        raise TypeError(f"spec: expected a known flow spec, got {type(spec).__name__}")
    return _COMPILERS[type(spec)](spec, arrays)


def _inside(prefix: str, arrays: Arrays) -> dict[str, Array]:
    """The arrays under ``prefix.``, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


def _autoregressive(layer: type[Autoregressive]) -> Callable[[Any, Arrays], Flow]:
    def compiled(spec: specs.AutoregressiveSpec, arrays: Arrays) -> Flow:
        net = MADE(spec.conditioner, _inside("conditioner", arrays))
        law = law_from_spec(spec.law)
        free = arrays.get("free")
        return layer(
            net,
            law,
            spec.order,
            context_dim=spec.context_dim,
            free=free,
            inverse=spec.inverse,
            spec=spec,
        )

    return compiled


def _coupling(spec: specs.CouplingSpec, arrays: Arrays) -> Flow:
    net = MLP(spec.conditioner, _inside("conditioner", arrays))
    law, free = law_from_spec(spec.law), arrays.get("free")
    return Coupling(
        spec.mask,
        net,
        law,
        context_dim=spec.context_dim,
        free=free,
        volume_preserving=spec.volume_preserving,
        spec=spec,
    )


def _planar(spec: specs.PlanarSpec, arrays: Arrays) -> Flow:
    net = spec.conditioner
    return Planar(
        arrays["weight"],
        arrays["bias"],
        arrays["direction"],
        activation=spec.activation,
        conditioner=None if net is None else MLP(net, _inside("conditioner", arrays)),
        context_dim=spec.context_dim,
        max_iterations=spec.max_iterations,
        spec=spec,
    )


def _image_coupling(spec: specs.ImageCouplingSpec, arrays: Arrays) -> Flow:
    return ImageCoupling(
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


def _compose(spec: specs.ComposeSpec, arrays: Arrays) -> Flow:
    layers = (_compile(s, _inside(f"layers.{i}", arrays)) for i, s in enumerate(spec.layers))
    return Compose(tuple(layers))


# A new layer is one row here.
_COMPILERS: dict[type[FlowSpec], Callable[[Any, Arrays], Flow]] = {
    specs.MaskedAutoregressiveSpec: _autoregressive(MaskedAutoregressive),
    specs.InverseAutoregressiveSpec: _autoregressive(InverseAutoregressive),
    specs.CouplingSpec: _coupling,
    specs.ImageCouplingSpec: _image_coupling,
    specs.SqueezedSpec: lambda spec, arrays: Squeezed(_inner(spec, arrays)),
    specs.OnChannelsSpec: lambda spec, arrays: OnChannels(_inner(spec, arrays), spec.num_channels),
    specs.PerPixelSpec: lambda spec, arrays: PerPixel(
        _inner(spec, arrays), spec.height, spec.width
    ),
    specs.Conv1x1Spec: lambda spec, arrays: Conv1x1(_inner(spec, arrays), spec.height, spec.width),
    specs.FlattenedSpec: lambda spec, arrays: Flattened(_inner(spec, arrays), spec.image_shape),
    specs.LULinearSpec: LULinear,
    specs.QRLinearSpec: QRLinear,
    specs.DiagonalAffineSpec: DiagonalAffine,
    specs.TriangularAffineSpec: TriangularAffine,
    specs.HouseholderLinearSpec: HouseholderLinear,
    specs.LowRankLinearSpec: LowRankLinear,
    specs.ActNormSpec: ActNorm,
    specs.BatchNormSpec: BatchNorm,
    specs.LogitSpec: lambda spec, arrays: Logit(spec),
    specs.PermutationSpec: lambda spec, arrays: Permutation(spec),
    specs.PlanarSpec: _planar,
    specs.SylvesterSpec: Sylvester,
    specs.ComposeSpec: _compose,
}
