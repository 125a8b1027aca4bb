"""Residual layers whose Jacobian is that of a few hidden units: planar and Sylvester."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

from flowkit_core import checks
from flowkit_core.specs.base import ArraySpec, FlowSpec, Spec, prefixed
from flowkit_core.specs.conditioners import MLPSpec

# Functions h with 0 < h' <= 1 and h(0) = 0, which is what the constraint on the weights rests on.
RESIDUAL_ACTIVATIONS = ("tanh", "leaky_relu")

# Newton's method takes 4 steps as a rule and no more than 16 for layers that stretch a millionfold.
MAX_ITERATIONS = 50


@dataclass(frozen=True)
class PlanarSpec(FlowSpec, kind="planar"):
    """``x = z + u h(w . z + b)``: one hidden unit (Rezende and Mohamed 2015, equation 10).

    Args:
        input_dim: number of coordinates D.
        activation: h, "tanh" or "leaky_relu".
        context_dim: length of the context; 0 for none.
        hidden_dims: widths of the network that adds to w, b and u what the context says; () without
            a context.
        max_iterations: steps that the inverse may take.
    """

    input_dim: int
    activation: str = "tanh"
    context_dim: int = 0
    hidden_dims: tuple[int, ...] = ()
    max_iterations: int = MAX_ITERATIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_dim", checks.positive_int("input_dim", self.input_dim))
        checks.choice("activation", self.activation, RESIDUAL_ACTIVATIONS)
        context_dim = checks.int_at_least("context_dim", self.context_dim, 0)
        object.__setattr__(self, "context_dim", context_dim)
        object.__setattr__(self, "hidden_dims", checks.widths("hidden_dims", self.hidden_dims))
        budget = checks.positive_int("max_iterations", self.max_iterations)
        object.__setattr__(self, "max_iterations", budget)
        if self.hidden_dims and not context_dim:
            raise ValueError(f"hidden_dims: expected () without a context, got {self.hidden_dims}")

    @cached_property
    def conditioner(self) -> MLPSpec | None:
        """The network from the context to w, b and u; None without a context."""
        if not self.context_dim:
            return None
        return MLPSpec(
            hidden_dims=self.hidden_dims,
            activation="silu",
            context_dim=self.context_dim,
            num_inputs=0,
            num_outputs=2 * self.input_dim + 1,
        )

    def arrays(self) -> tuple[ArraySpec, ...]:
        """w, b and u, then the conditioner's arrays.

        Only u starts at zero: with w or b at zero, too, no gradient would ever arrive.
        """
        d = self.input_dim
        own = (
            ArraySpec("weight", (d,), d),
            ArraySpec("bias", (1,), d),
            ArraySpec("direction", (d,)),
        )
        net = self.conditioner
        return own if net is None else (*own, *prefixed("conditioner", net.arrays()))

    def summary(self) -> str:
        """One line that names the layer and what sets it apart."""
        context = f", hidden_dims={self.hidden_dims}, context_dim={self.context_dim}"
        return (
            f"Planar(input_dim={self.input_dim}, activation={self.activation}"
            f"{context if self.context_dim else ''})"
        )


class ColumnsSpec(Spec):
    """Where a Sylvester layer's matrix Q of M orthonormal columns of length D comes from."""

    @abstractmethod
    def arrays(self, input_dim: int, rank: int) -> tuple[ArraySpec, ...]:
        """Its trainable arrays."""

    def check(self, input_dim: int, rank: int) -> None:
        """Raise ValueError unless Q may have this shape."""

    @abstractmethod
    def summary(self) -> str:
        """A word or two."""


@dataclass(frozen=True)
class OrthogonalColumns(ColumnsSpec, kind="orthogonal_columns"):
    """Any orthonormal columns: those of M reflections, as in a QR decomposition."""

    def arrays(self, input_dim: int, rank: int) -> tuple[ArraySpec, ...]:
        """Vectors of M reflections as columns, of which only what is below the diagonal is used."""
        return (ArraySpec("reflections", (input_dim, rank), input_dim),)

    def summary(self) -> str:
        """A word or two."""
        return "orthogonal"


@dataclass(frozen=True)
class HouseholderColumns(ColumnsSpec, kind="householder_columns"):
    """The first M columns of a product of ``num_reflections`` reflections of free direction."""

    num_reflections: int

    def __post_init__(self) -> None:
        count = checks.positive_int("num_reflections", self.num_reflections)
        object.__setattr__(self, "num_reflections", count)

    def arrays(self, input_dim: int, rank: int) -> tuple[ArraySpec, ...]:
        """Vectors of the reflections as columns."""
        return (ArraySpec("reflections", (input_dim, self.num_reflections), input_dim),)

    def summary(self) -> str:
        """A word or two."""
        return f"householder({self.num_reflections})"


@dataclass(frozen=True)
class ChosenColumns(ColumnsSpec, kind="chosen_columns"):
    """Columns of the identity: column j is that of coordinate ``coordinates[j]``."""

    coordinates: tuple[int, ...]

    def __post_init__(self) -> None:
        given = checks.sequence("coordinates", self.coordinates)
        chosen = tuple(checks.int_at_least(f"coordinates[{i}]", c, 0) for i, c in enumerate(given))
        object.__setattr__(self, "coordinates", chosen)
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"coordinates: expected no index twice, got {chosen}")

    def check(self, input_dim: int, rank: int) -> None:
        """Raise ValueError unless Q may have this shape."""
        if len(self.coordinates) != rank or max(self.coordinates) >= input_dim:
            raise ValueError(
                f"coordinates: expected {rank} of 0 .. {input_dim - 1}, got {self.coordinates}"
            )

    def arrays(self, input_dim: int, rank: int) -> tuple[ArraySpec, ...]:
        """None: which coordinates is part of the spec."""
        return ()

    def summary(self) -> str:
        """A word or two."""
        shown = ", ".join(map(str, self.coordinates[:6]))
        return f"coordinates({shown}{', ...' if len(self.coordinates) > 6 else ''})"


def check_rank(input_dim: int, rank: int) -> None:
    """Raise ValueError if there are no ``rank`` orthonormal columns of that length."""
    if rank > input_dim:
        raise ValueError(
            f"rank: expected at most input_dim = {input_dim}, since there are no more orthonormal "
            f"columns than that, got {rank}"
        )


@dataclass(frozen=True)
class SylvesterSpec(FlowSpec, kind="sylvester"):
    """``x = z + Q R1 h(R2 Q^T z + b)``: M hidden units (van den Berg et al. 2018, equation 13).

    Args:
        input_dim: number of coordinates D.
        rank: M, number of orthonormal columns of Q; at most D.
        columns: where Q comes from.
        activation: h, "tanh" or "leaky_relu".
        max_iterations: steps that each coordinate of the inverse may take.
    """

    input_dim: int
    rank: int
    columns: ColumnsSpec
    activation: str = "tanh"
    max_iterations: int = MAX_ITERATIONS

    def __post_init__(self) -> None:
        for name in ("input_dim", "rank", "max_iterations"):
            object.__setattr__(self, name, checks.positive_int(name, getattr(self, name)))
        check_rank(self.input_dim, self.rank)
        checks.instance("columns", self.columns, ColumnsSpec)
        self.columns.check(self.input_dim, self.rank)
        checks.choice("activation", self.activation, RESIDUAL_ACTIVATIONS)

    def arrays(self) -> tuple[ArraySpec, ...]:
        """What Q takes, R1 (``outer``), R2 (``inner``), of which the upper triangles are used, b.

        Only R1 starts at zero: with R2 at zero, too, no gradient would ever arrive.
        """
        m = self.rank
        return (
            *self.columns.arrays(self.input_dim, m),
            ArraySpec("outer", (m, m)),
            ArraySpec("inner", (m, m), m),
            ArraySpec("bias", (m,), m),
        )

    def summary(self) -> str:
        """One line that names the layer and what sets it apart."""
        return (
            f"Sylvester(input_dim={self.input_dim}, rank={self.rank}, "
            f"columns={self.columns.summary()}, activation={self.activation})"
        )
