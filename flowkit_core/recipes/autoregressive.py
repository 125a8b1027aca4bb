"""Autoregressive flows: maf and iaf."""

from collections.abc import Callable, Sequence

import numpy as np

from flowkit_core import checks, masks
from flowkit_core.recipes.mixing import MIXINGS
from flowkit_core.specs import (
    AutoregressiveSpec,
    ComposeSpec,
    FlowSpec,
    InverseAutoregressiveSpec,
    LULinearSpec,
    MADESpec,
    MaskedAutoregressiveSpec,
)
from flowkit_core.specs.laws import named_law


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
    inverse: str = "auto",
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
        law: "affine" (location and scale), "additive" (volume preserving) or "spline" (monotone
            rational-quadratic splines of 8 bins, for densities of several modes or sharp edges;
            they bend within +-4 of a layer's input, so standardise the data).
        inverse: how ``flow(z)`` is found. "sweep": coordinate by coordinate; "fixed_point":
            parallel passes until nothing changes, exact after D of them, for accelerators;
            "auto": whichever is expected to be faster on the device at hand.
        seed: seed of random orders; in Pyro also of the initial weights.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow for Density Estimation", 2017,
        section 3; Germain et al., "MADE", 2015; Durkan et al., "Neural Spline Flows", 2019.

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
        residual, mixing, law, inverse, seed,
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
    inverse: str = "auto",
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
        law: "affine", "additive" or "spline", as for `maf`.
        inverse: how ``flow.inv(x)`` is found: "sweep", "fixed_point" or "auto", as for `maf`.
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
        residual, mixing, law, inverse, seed,
    )  # fmt: skip


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
    inverse: str,
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
        layers.append(layer(net, law_spec, order, inverse))
    return ComposeSpec(tuple(layers))
