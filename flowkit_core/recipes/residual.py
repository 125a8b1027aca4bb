"""Flows of residual layers with few hidden units: planar and sylvester."""

from collections.abc import Sequence

from flowkit_core import checks
from flowkit_core.specs import ComposeSpec, FlowSpec
from flowkit_core.specs.residual import (
    MAX_ITERATIONS,
    ChosenColumns,
    ColumnsSpec,
    HouseholderColumns,
    OrthogonalColumns,
    PlanarSpec,
    SylvesterSpec,
    check_rank,
)

SYLVESTER_KINDS = ("orthogonal", "householder", "triangular")


def planar(
    input_dim: int,
    *,
    num_layers: int,
    activation: str = "tanh",
    context_dim: int = 0,
    hidden_dims: Sequence[int] = (64, 64),
    max_iterations: int = MAX_ITERATIONS,
    seed: int = 0,
) -> FlowSpec:
    """Planar flow: each layer moves points along one direction, by how far they are in another.

    ``x = z + u h(w . z + b)`` in each layer. Every choice of the weights is invertible: what is
    trained is mapped onto the u with ``w . u > -0.99``, and zero onto zero.

    Cost: D per point and layer in either direction; ``flow.inv(x)`` solves one equation for one
    number by Newton's method in addition ("leaky_relu": in closed form). It takes many layers to
    bend a density much: `sylvester` does more with one.

    Args:
        input_dim: number of coordinates D; 1 works.
        num_layers: planar layers.
        activation: h, "tanh" or "leaky_relu" (slope 0.01 below zero).
        context_dim: length of the context vector of a conditional flow; 0 for none.
        hidden_dims: widths of the hidden layers of the networks (with SiLU) that add to w, b and u
            what the context says; without a context there are none.
        max_iterations: steps that the inverse of a layer may take. Layers with weights of ordinary
            size need about 4.
        seed: in Pyro the seed of the initial weights.

    Raises:
        ValueError, TypeError: for arguments out of range; the message says what was expected.

    References:
        Rezende, Mohamed, "Variational Inference with Normalizing Flows", 2015, section 4.1.

    Example:
        >>> print(planar(3, num_layers=2))
        Compose(
          Planar(input_dim=3, activation=tanh)
          Planar(input_dim=3, activation=tanh)
        )
    """
    checks.positive_int("num_layers", num_layers)
    checks.int_at_least("seed", seed, 0)
    widths = checks.widths("hidden_dims", hidden_dims)
    layer = PlanarSpec(
        input_dim, activation, context_dim, widths if context_dim else (), max_iterations
    )
    return ComposeSpec((layer,) * num_layers)


def sylvester(
    input_dim: int,
    *,
    num_layers: int,
    rank: int,
    kind: str = "orthogonal",
    num_reflections: int = 8,
    activation: str = "tanh",
    max_iterations: int = MAX_ITERATIONS,
    seed: int = 0,
) -> FlowSpec:
    """Sylvester flow: residual layers of M hidden units with a determinant that costs M.

    ``x = z + Q R1 h(R2 Q^T z + b)`` with M orthonormal columns Q and upper triangles R1 and R2.
    Every choice of the weights is invertible: what is trained is mapped onto the diagonals with
    ``R1_ii R2_ii > -0.99``, and zero onto zero.

    Cost: 2 D M per point and layer in either direction; ``flow.inv(x)`` solves M equations for one
    number each, one after the other, by Newton's method in addition ("leaky_relu": in closed
    form). Once per call and layer: Q, D H (H + M) for H reflections (M of them if "orthogonal"),
    and its products with the triangles, 2 D M^2.

    Args:
        input_dim: number of coordinates D; 1 works.
        num_layers: Sylvester layers.
        rank: M, number of hidden units of a layer, at most D.
        kind: "orthogonal": any Q; "householder": what ``num_reflections`` reflections make of
            the identity; "triangular": nothing to train, the columns of the identity, in the
            order of the coordinates and the reverse of it by turns (with a rank below D a layer
            takes as many coordinates, half of them those of the layer before it).
        num_reflections: of kind "householder".
        activation: h, "tanh" or "leaky_relu" (slope 0.01 below zero).
        max_iterations: steps that each of the M equations may take. Layers with weights of
            ordinary size need about 4.
        seed: in Pyro the seed of the initial weights.

    Raises:
        ValueError, TypeError: for arguments out of range, a rank above D among them; the message
            says what was expected.

    References:
        Van den Berg, Hasenclever, Tomczak, Welling, "Sylvester Normalizing Flows for Variational
        Inference", 2018, sections 3 and 4.

    Example:
        >>> print(sylvester(4, num_layers=2, rank=4, kind="triangular"))
        Compose(
          Sylvester(input_dim=4, rank=4, columns=coordinates(0, 1, 2, 3), activation=tanh)
          Sylvester(input_dim=4, rank=4, columns=coordinates(3, 2, 1, 0), activation=tanh)
        )
    """
    checks.positive_int("input_dim", input_dim)
    checks.positive_int("num_layers", num_layers)
    check_rank(input_dim, checks.positive_int("rank", rank))
    checks.choice("kind", kind, SYLVESTER_KINDS)
    checks.positive_int("num_reflections", num_reflections)
    checks.int_at_least("seed", seed, 0)

    def columns(layer: int) -> ColumnsSpec:
        if kind == "orthogonal":
            return OrthogonalColumns()
        if kind == "householder":
            return HouseholderColumns(num_reflections)
        # Layers overlap by half, or coordinates of different layers would never meet.
        first = 0 if rank == input_dim else layer * ((rank + 1) // 2)
        chosen = tuple((first + j) % input_dim for j in range(rank))
        return ChosenColumns(chosen[::-1] if layer % 2 else chosen)

    return ComposeSpec(
        tuple(
            SylvesterSpec(input_dim, rank, columns(i), activation, max_iterations)
            for i in range(num_layers)
        )
    )
