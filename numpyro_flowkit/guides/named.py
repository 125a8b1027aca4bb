"""AutoFlow with the named flows."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from numpyro.infer.initialization import init_to_median

from numpyro_flowkit import recipes
from numpyro_flowkit.bases.choice import BaseChoice
from numpyro_flowkit.guides.auto_flow import AutoFlow


class AutoMAF(AutoFlow):
    """`AutoFlow` with a masked autoregressive flow: one pass to score, a sweep to draw.

    Args:
        model: a NumPyro model whose latents are continuous.
        prefix: prefix of the guide's sites.
        init_loc_fn: NumPyro's strategy for the starting point of each latent.
        init_scale: scale that the guide starts with, in unconstrained coordinates.
        path_gradient: as for `AutoFlow`.
        base: as for `AutoFlow`.
        num_layers: as for `numpyro_flowkit.maf`, like all that follow.
        hidden_dims: widths of the hidden layers.
        activation: activation function.
        residual: residual blocks instead of plain layers.
        mixing: what changes between layers.
        law: "affine" or "additive".
        seed: seed of random orders.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        prefix: str = "auto",
        init_loc_fn: Callable[..., Any] = init_to_median,
        init_scale: float = 0.1,
        path_gradient: bool = True,
        base: BaseChoice = "student_t",
        num_layers: int = 5,
        hidden_dims: Sequence[int] = (128, 128),
        activation: str = "silu",
        residual: bool = False,
        mixing: str = "reverse",
        law: str = "affine",
        seed: int = 0,
    ) -> None:
        flow = functools.partial(
            recipes.maf, num_layers=num_layers, hidden_dims=hidden_dims, activation=activation,
            residual=residual, mixing=mixing, law=law, seed=seed,
        )  # fmt: skip
        super().__init__(
            model, flow, prefix=prefix, init_loc_fn=init_loc_fn, init_scale=init_scale,
            path_gradient=path_gradient, base=base,
        )  # fmt: skip


class AutoIAF(AutoFlow):
    """`AutoFlow` with an inverse autoregressive flow: one pass to draw and score the draw.

    Args:
        model: a NumPyro model whose latents are continuous.
        prefix: prefix of the guide's sites.
        init_loc_fn: NumPyro's strategy for the starting point of each latent.
        init_scale: scale that the guide starts with, in unconstrained coordinates.
        path_gradient: as for `AutoFlow`.
        base: as for `AutoFlow`.
        num_layers: as for `numpyro_flowkit.iaf`, like all that follow.
        hidden_dims: widths of the hidden layers.
        activation: activation function.
        residual: residual blocks instead of plain layers.
        mixing: what changes between layers.
        law: "affine" or "additive".
        seed: seed of random orders.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        prefix: str = "auto",
        init_loc_fn: Callable[..., Any] = init_to_median,
        init_scale: float = 0.1,
        path_gradient: bool = True,
        base: BaseChoice = "student_t",
        num_layers: int = 5,
        hidden_dims: Sequence[int] = (128, 128),
        activation: str = "silu",
        residual: bool = False,
        mixing: str = "reverse",
        law: str = "affine",
        seed: int = 0,
    ) -> None:
        flow = functools.partial(
            recipes.iaf, num_layers=num_layers, hidden_dims=hidden_dims, activation=activation,
            residual=residual, mixing=mixing, law=law, seed=seed,
        )  # fmt: skip
        super().__init__(
            model, flow, prefix=prefix, init_loc_fn=init_loc_fn, init_scale=init_scale,
            path_gradient=path_gradient, base=base,
        )  # fmt: skip


class AutoRealNVP(AutoFlow):
    """`AutoFlow` with affine coupling layers: one pass to draw, one pass to score.

    Args:
        model: a NumPyro model whose latents are continuous.
        prefix: prefix of the guide's sites.
        init_loc_fn: NumPyro's strategy for the starting point of each latent.
        init_scale: scale that the guide starts with, in unconstrained coordinates.
        path_gradient: as for `AutoFlow`.
        base: as for `AutoFlow`.
        num_layers: as for `numpyro_flowkit.realnvp`, like all that follow.
        hidden_dims: widths of the hidden layers.
        activation: activation function.
        mask: which coordinates pass through the first layer.
        mixing: what changes between pairs of layers.
        law: "affine" or "additive".
        seed: seed of random orders.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        *,
        prefix: str = "auto",
        init_loc_fn: Callable[..., Any] = init_to_median,
        init_scale: float = 0.1,
        path_gradient: bool = True,
        base: BaseChoice = "student_t",
        num_layers: int = 8,
        hidden_dims: Sequence[int] = (64, 64),
        activation: str = "silu",
        mask: str | Sequence[bool] = "alternating",
        mixing: str = "none",
        law: str = "affine",
        seed: int = 0,
    ) -> None:
        flow = functools.partial(
            recipes.realnvp, num_layers=num_layers, hidden_dims=hidden_dims,
            activation=activation, mask=mask, mixing=mixing, law=law, seed=seed,
        )  # fmt: skip
        super().__init__(
            model, flow, prefix=prefix, init_loc_fn=init_loc_fn, init_scale=init_scale,
            path_gradient=path_gradient, base=base,
        )  # fmt: skip
