"""Recipes: the named flows, as specs. Each wing offers the same names and compiles the result.

Direction (DESIGN: base to data): ``flow(z)`` samples, ``flow.inv(x)`` scores.
"""

from collections.abc import Callable, Sequence

import numpy as np

from flowkit_core import checks, masks
from flowkit_core.specs import (
    AutoregressiveSpec,
    ComposeSpec,
    CouplingSpec,
    DiagonalAffineSpec,
    FlowSpec,
    InverseAutoregressiveSpec,
    LULinearSpec,
    MADESpec,
    MaskedAutoregressiveSpec,
    MLPSpec,
    PermutationSpec,
    QRLinearSpec,
)
from flowkit_core.specs.laws import named_law

MIXINGS = ("none", "reverse", "random", "lu")
COUPLING_MASKS = ("alternating", "half")


def maf(
    input_dim: int,
    *,
    num_layers: int = 5,
    hidden_dims: Sequence[int] = (128, 128),
    context_dim: int = 0,
    activation: str = "relu",
    residual: bool = False,
    mixing: str = "reverse",
    law: str = "affine",
    seed: int = 0,
) -> FlowSpec:
    """Masked autoregressive flow: scoring in one pass, for density estimation.

    ``x_i = z_i * exp(s_i) + t_i`` with s_i, t_i functions of x_1 .. x_{i-1} in each layer.

    Cost: ``flow.inv(x)`` one network pass per layer; ``flow(z)`` a sweep of D small steps with the
    arithmetic of one pass per layer, and gradients in the memory of one pass.

    Args:
        input_dim: number of coordinates D; 1 works.
        num_layers: autoregressive layers.
        hidden_dims: widths of the hidden layers of each network; any, also narrower than D.
        context_dim: length of the context vector of a conditional flow; 0 for none.
        activation: "relu", "leaky_relu", "elu", "gelu", "silu" or "tanh".
        residual: residual blocks instead of plain layers (equal widths then).
        mixing: what changes between layers. "none"; "reverse": every second layer runs through the
            coordinates backwards; "random": an order of its own for each layer, drawn from
            ``seed``; "lu": a trainable LU-linear layer between neighbours.
        law: "affine" (location and scale) or "additive" (volume preserving).
        seed: seed of random orders; in Pyro also of the initial weights.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow for Density Estimation", 2017,
        section 3; Germain et al., "MADE", 2015.

    Example:
        >>> spec = maf(3, num_layers=2, hidden_dims=(16,))
        >>> print(spec)
        Compose(
          MaskedAutoregressive(input_dim=3, hidden_dims=(16,), law=affine, order=natural)
          MaskedAutoregressive(input_dim=3, hidden_dims=(16,), law=affine, order=reverse)
        )
    """
    return _autoregressive(
        MaskedAutoregressiveSpec, input_dim, num_layers, hidden_dims, context_dim, activation,
        residual, mixing, law, seed,
    )  # fmt: skip


def iaf(
    input_dim: int,
    *,
    num_layers: int = 5,
    hidden_dims: Sequence[int] = (128, 128),
    context_dim: int = 0,
    activation: str = "relu",
    residual: bool = False,
    mixing: str = "reverse",
    law: str = "affine",
    seed: int = 0,
) -> FlowSpec:
    """Inverse autoregressive flow: sampling in one pass, for variational guides.

    ``x_i = z_i * exp(s_i) + t_i`` with s_i, t_i functions of z_1 .. z_{i-1} in each layer.

    Cost: ``flow(z)`` one network pass per layer; ``flow.inv(x)`` a sweep of D small steps with the
    arithmetic of one pass per layer. Scoring a sample that the flow has just drawn is free.

    Args:
        input_dim: number of coordinates D; 1 works.
        num_layers: autoregressive layers.
        hidden_dims: widths of the hidden layers of each network; any, also narrower than D.
        context_dim: length of the context vector of a conditional flow; 0 for none.
        activation: "relu", "leaky_relu", "elu", "gelu", "silu" or "tanh".
        residual: residual blocks instead of plain layers (equal widths then).
        mixing: "none", "reverse", "random" or "lu", as for `maf`.
        law: "affine" or "additive".
        seed: seed of random orders; in Pyro also of the initial weights.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", 2016,
        section 3.

    Example:
        >>> spec = iaf(3, num_layers=1, hidden_dims=(8, 8))
        >>> spec.sequential_forward, spec.sequential_inverse
        (False, True)
    """
    return _autoregressive(
        InverseAutoregressiveSpec, input_dim, num_layers, hidden_dims, context_dim, activation,
        residual, mixing, law, seed,
    )  # fmt: skip


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
        law: "affine" or "additive".
        seed: seed of random orders; in Pyro also of the initial weights.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Dinh, Sohl-Dickstein, Bengio, "Density estimation using Real NVP", 2017, section 3.

    Example:
        >>> print(realnvp(3, num_layers=2, hidden_dims=(8,)))
        Compose(
          Coupling(input_dim=3, hidden_dims=(8,), law=affine, mask=101)
          Coupling(input_dim=3, hidden_dims=(8,), law=affine, mask=010)
        )
    """
    return ComposeSpec(
        _coupling_layers(
            input_dim, num_layers, hidden_dims, context_dim, activation, mask, mixing, law, seed
        )
    )


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


def lu_linear(input_dim: int) -> FlowSpec:
    """Invertible linear map ``x = L U z + b`` by its triangular factors.

    Cost: D^2 per point in either direction (the inverse solves two triangular systems); the
    log-determinant is a sum of D numbers.

    Args:
        input_dim: number of coordinates D.

    References:
        Kingma, Dhariwal, "Glow", 2018, equation 10; Durkan et al., "Neural Spline Flows", 2019.

    Example:
        >>> lu_linear(4).num_parameters
        40
    """
    return LULinearSpec(input_dim)


def qr_linear(input_dim: int) -> FlowSpec:
    """Invertible linear map ``x = Q R z + b``: Householder reflections times a triangle.

    Cost: D^2 per point in either direction and D^3 once per call; the log-determinant is a sum of
    D numbers.

    Args:
        input_dim: number of coordinates D.

    References:
        Hoogeboom, van den Berg, Welling, "Emerging Convolutions", 2019, section 4; Golub, Van
        Loan, "Matrix Computations", 4th ed., section 5.1 (compact WY form).

    Example:
        >>> print(qr_linear(4))
        QRLinear(input_dim=4)
    """
    return QRLinearSpec(input_dim)


def permute(input_dim: int, *, order: Sequence[int]) -> FlowSpec:
    """Fixed permutation ``x[i] = z[order[i]]``; volume preserving, nothing to train.

    Args:
        input_dim: number of coordinates D.
        order: each of 0 .. D-1 exactly once.

    Raises:
        ValueError: if ``order`` is no permutation of ``input_dim`` indices.

    Example:
        >>> print(permute(3, order=(2, 0, 1)))
        Permutation(input_dim=3, order=(2, 0, 1))
    """
    checks.positive_int("input_dim", input_dim)
    spec = PermutationSpec(checks.permutation("order", order))
    if spec.input_dim != input_dim:
        raise ValueError(f"order: expected {input_dim} indices, got {spec.input_dim}")
    return spec


def compose(*flows: FlowSpec) -> FlowSpec:
    """One flow after the other, the first one next to the base.

    Raises:
        ValueError: if there is none, or their dimensions differ.

    Example:
        >>> compose(lu_linear(2), permute(2, order=(1, 0))).input_dim
        2
    """
    return ComposeSpec(flows)


def _autoregressive(
    layer: Callable[..., AutoregressiveSpec],
    input_dim: int,
    num_layers: int,
    hidden_dims: Sequence[int],
    context_dim: int,
    activation: str,
    residual: bool,
    mixing: str,
    law: str,
    seed: int,
) -> ComposeSpec:
    checks.positive_int("input_dim", input_dim)
    checks.positive_int("num_layers", num_layers)
    checks.choice("mixing", mixing, MIXINGS)
    generator = np.random.default_rng(checks.int_at_least("seed", seed, 0))
    law_spec = named_law(law, num_layers)
    net = MADESpec(
        hidden_dims=checks.widths("hidden_dims", hidden_dims),
        activation=activation,
        context_dim=context_dim,
        input_dim=input_dim,
        num_params=law_spec.num_conditioned,
        residual=residual,
    )
    layers: list[FlowSpec] = []
    for i in range(num_layers):
        order = masks.natural_order(input_dim)
        if mixing == "reverse" and i % 2:
            order = masks.reverse_order(input_dim)
        elif mixing == "random":
            order = masks.random_order(input_dim, generator)
        elif mixing == "lu" and i:
            layers.append(LULinearSpec(input_dim))
        layers.append(layer(net, law_spec, order))
    return ComposeSpec(tuple(layers))


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
        layers.append(CouplingSpec(tuple(passes.tolist()), net, law_spec))
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
