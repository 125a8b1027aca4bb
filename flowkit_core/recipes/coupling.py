"""Flows of coupling layers: realnvp and nice."""

from collections.abc import Sequence

import numpy as np

from flowkit_core import checks, masks
from flowkit_core.recipes.mixing import MIXINGS
from flowkit_core.specs import (
    ComposeSpec,
    CouplingSpec,
    DiagonalAffineSpec,
    FlowSpec,
    LULinearSpec,
    MLPSpec,
)
from flowkit_core.specs.laws import named_law

COUPLING_MASKS = ("alternating", "half")


def realnvp(
    input_dim: int,
    *,
    num_layers: int = 8,
    hidden_dims: Sequence[int] = (64, 64),
    context_dim: int = 0,
    activation: str = "relu",
    mask: str | Sequence[bool] = "alternating",
    mixing: str = "none",
    law: str = "affine",
    volume_preserving: bool = False,
    seed: int = 0,
) -> FlowSpec:
    """Real-valued non-volume-preserving flow: coupling layers, one pass in both directions.

    ``x_A = z_A``, ``x_B = z_B * exp(s(z_A)) + t(z_A)``; A and B swap roles from layer to layer.

    Cost: one network pass per layer in either direction.

    Args:
        input_dim: number of coordinates D; for 1 the layers are element-wise (with the context).
        num_layers: coupling layers.
        hidden_dims: widths of the hidden layers of each network.
        context_dim: length of the context vector of a conditional flow; 0 for none.
        activation: "relu", "leaky_relu", "elu", "gelu", "silu" or "tanh".
        mask: which coordinates pass through the first layer: "alternating" (even ones), "half"
            (the first half) or a boolean sequence with both values in it.
        mixing: "none"; "reverse": every second pair of layers uses the mask backwards; "random":
            every later pair uses the mask in an order of its own, drawn from ``seed``; "lu": a
            trainable LU-linear layer between pairs.
        law: "affine", "additive" or "spline", as for `maf`.
        volume_preserving: centre the log-scales of each affine layer, so that they sum to zero and
            every log-determinant is 0; not for splines, nor with ``mixing="lu"``.
        seed: seed of random orders; in Pyro also of the initial weights.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3;
        Sorrenson, Rother, Koethe, "Disentanglement by Nonlinear ICA with General
        Incompressible-flow Networks (GIN)", 2020 (volume preserving layers).

    Example:
        >>> print(realnvp(3, num_layers=2, hidden_dims=(8,)))
        Compose(
          Coupling(input_dim=3, hidden_dims=(8,), law=affine, mask=101)
          Coupling(input_dim=3, hidden_dims=(8,), law=affine, mask=010)
        )
    """
    if checks.boolean("volume_preserving", volume_preserving) and mixing == "lu":
        raise ValueError(
            "volume_preserving: expected mixing 'none', 'reverse' or 'random', got 'lu', whose "
            "layers change the volume; compose flows with lu_linear where that is meant"
        )
    return ComposeSpec(
        _coupling_layers(
            input_dim, num_layers, hidden_dims, context_dim, activation, mask, mixing, law, seed,
            volume_preserving,
        )
    )  # fmt: skip


def nice(
    input_dim: int,
    *,
    num_layers: int = 8,
    hidden_dims: Sequence[int] = (64, 64),
    context_dim: int = 0,
    activation: str = "relu",
    mask: str | Sequence[bool] = "alternating",
    mixing: str = "none",
    seed: int = 0,
) -> FlowSpec:
    """NICE: additive coupling layers and a final diagonal scale.

    Cost: one network pass per layer in either direction. The log-determinant is that of the final
    scale alone.

    Args:
        input_dim: number of coordinates D; 1 works.
        num_layers: coupling layers.
        hidden_dims: widths of the hidden layers of each network.
        context_dim: length of the context vector of a conditional flow; 0 for none.
        activation: "relu", "leaky_relu", "elu", "gelu", "silu" or "tanh".
        mask: "alternating", "half" or a boolean sequence, as for `realnvp`.
        mixing: "none", "reverse", "random" or "lu", as for `realnvp`.
        seed: seed of random orders; in Pyro also of the initial weights.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Dinh, Krueger, Bengio, "NICE: Non-linear Independent Components Estimation", 2015.

    Example:
        >>> nice(4, num_layers=2).layers[-1].summary()
        'DiagonalAffine(input_dim=4)'
    """
    couplings = _coupling_layers(
        input_dim, num_layers, hidden_dims, context_dim, activation, mask, mixing, "additive", seed
    )
    return ComposeSpec((*couplings, DiagonalAffineSpec(input_dim)))


def _coupling_layers(
    input_dim: int,
    num_layers: int,
    hidden_dims: Sequence[int],
    context_dim: int,
    activation: str,
    mask: str | Sequence[bool],
    mixing: str,
    law: str,
    seed: int,
    volume_preserving: bool = False,
) -> tuple[FlowSpec, ...]:
    checks.positive_int("input_dim", input_dim)
    checks.positive_int("num_layers", num_layers)
    checks.choice("mixing", mixing, MIXINGS)
    generator = np.random.default_rng(checks.int_at_least("seed", seed, 0))
    law_spec = named_law(law, num_layers)
    first = np.array(_first_mask(mask, input_dim))
    layers: list[FlowSpec] = []
    for i in range(num_layers):
        if i and i % 2 == 0:  # a new pair begins
            if mixing == "reverse":
                first = first[::-1]
            elif mixing == "random":
                first = generator.permutation(first)
            elif mixing == "lu":
                layers.append(LULinearSpec(input_dim))
        # With one coordinate nothing can pass through: the layer is element-wise.
        passes = first if i % 2 == 0 or input_dim == 1 else ~first
        net = MLPSpec(
            hidden_dims=checks.widths("hidden_dims", hidden_dims),
            activation=activation,
            context_dim=context_dim,
            num_inputs=int(passes.sum()),
            num_outputs=law_spec.num_conditioned * int((~passes).sum()),
        )
        layers.append(CouplingSpec(tuple(passes.tolist()), net, law_spec, volume_preserving))
    return tuple(layers)


def _first_mask(mask: str | Sequence[bool], input_dim: int) -> tuple[bool, ...]:
    if input_dim == 1 and isinstance(mask, str):
        checks.choice("mask", mask, COUPLING_MASKS)
        return (False,)
    if isinstance(mask, str):
        named = {"alternating": masks.alternating_mask, "half": masks.half_mask}
        return named[checks.choice("mask", mask, COUPLING_MASKS)](input_dim)
    entries = checks.boolean_mask("mask", mask)
    if len(entries) != input_dim:
        raise ValueError(f"mask: expected {input_dim} entries, got {len(entries)}")
    if input_dim > 1 and len(set(entries)) == 1:
        raise ValueError(
            f"mask: expected both True and False entries, got all {entries[0]}; "
            "layers swap the two groups, so neither may be empty"
        )
    return entries
