"""Linear layers: triangular factors, reflections, permutations, diagonals."""

from dataclasses import dataclass

from flowkit_core import checks
from flowkit_core.specs.autoregressive import order_name
from flowkit_core.specs.base import ArraySpec, FlowSpec


@dataclass(frozen=True)
class LinearSpec(FlowSpec):
    """A trainable linear layer of D coordinates."""

    input_dim: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_dim", checks.positive_int("input_dim", self.input_dim))

    def summary(self) -> str:
        """One line that names the layer and its size."""
        return f"{type(self).__name__.removesuffix('Spec')}(input_dim={self.input_dim})"


@dataclass(frozen=True)
class LULinearSpec(LinearSpec, kind="lu_linear"):
    """``x = L U z + b``; of ``lower`` and ``upper`` only the strict triangles are used."""

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Strict lower and upper factors, log-diagonal of U, shift b."""
        d = self.input_dim
        return (
            ArraySpec("lower", (d, d)),
            ArraySpec("upper", (d, d)),
            ArraySpec("log_diagonal", (d,)),
            ArraySpec("shift", (d,)),
        )


@dataclass(frozen=True)
class QRLinearSpec(LinearSpec, kind="qr_linear"):
    """``x = Q R z + b``; of ``reflections`` and ``upper`` only the strict triangles are used."""

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Householder vectors (columns, below the diagonal), strict upper R, log-diagonal, b."""
        d = self.input_dim
        return (
            ArraySpec("reflections", (d, d)),
            ArraySpec("upper", (d, d)),
            ArraySpec("log_diagonal", (d,)),
            ArraySpec("shift", (d,)),
        )


@dataclass(frozen=True)
class AffineSpec(LinearSpec):
    """An affine layer that may be frozen: its arrays are then constants of the training.

    A frozen layer keeps its arrays where every other layer has them (parameters, leaves, files),
    but no gradient reaches them: they fix the coordinates that the layers before it work in.
    """

    frozen: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "frozen", checks.boolean("frozen", self.frozen))

    def summary(self) -> str:
        """One line that names the layer and its size."""
        frozen = ", frozen=True" if self.frozen else ""
        return f"{super().summary().removesuffix(')')}{frozen})"


@dataclass(frozen=True)
class DiagonalAffineSpec(AffineSpec, kind="diagonal_affine"):
    """``x = exp(log_scale) * z + shift``, coordinate by coordinate."""

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Log-scale and shift."""
        return (
            ArraySpec("log_scale", (self.input_dim,)),
            ArraySpec("shift", (self.input_dim,)),
        )


@dataclass(frozen=True)
class TriangularAffineSpec(AffineSpec, kind="triangular_affine"):
    """``x = L z + shift``, L lower triangular; of ``lower`` only the strict triangle is used."""

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Strict lower triangle of L, logarithms of its diagonal, shift."""
        d = self.input_dim
        return (
            ArraySpec("lower", (d, d)),
            ArraySpec("log_diagonal", (d,)),
            ArraySpec("shift", (d,)),
        )


@dataclass(frozen=True)
class HouseholderLinearSpec(LinearSpec, kind="householder_linear"):
    """``x = Q z + b``: Q a product of an even number of reflections.

    Args:
        input_dim: number of coordinates D.
        num_reflections: K, even: one reflection has determinant -1 and could not start as, or
            become, the identity.
    """

    num_reflections: int

    def __post_init__(self) -> None:
        super().__post_init__()
        count = checks.positive_int("num_reflections", self.num_reflections)
        object.__setattr__(self, "num_reflections", count)
        if count % 2:
            raise ValueError(
                "num_reflections: expected an even number, since an odd product of reflections is "
                f"no rotation and cannot start as the identity, got {count}"
            )

    @property
    def axes(self) -> tuple[int, ...]:
        """The coordinate vector that each reflection starts with, two neighbours with the same."""
        return tuple((k // 2) % self.input_dim for k in range(self.num_reflections))

    def arrays(self) -> tuple[ArraySpec, ...]:
        """What is added to the coordinate vectors, one reflection a row; b."""
        return (
            ArraySpec("reflections", (self.num_reflections, self.input_dim)),
            ArraySpec("shift", (self.input_dim,)),
        )

    def summary(self) -> str:
        """One line that names the layer, its size and the number of reflections."""
        return (
            f"HouseholderLinear(input_dim={self.input_dim}, num_reflections={self.num_reflections})"
        )


@dataclass(frozen=True)
class LowRankLinearSpec(LinearSpec, kind="low_rank_linear"):
    """``x = diag(exp(s)) (1 + U Q^T) z + b`` with U and Q of r columns.

    Args:
        input_dim: number of coordinates D.
        rank: r, at most D.
    """

    rank: int

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "rank", checks.positive_int("rank", self.rank))
        if self.rank > self.input_dim:
            raise ValueError(f"rank: expected at most input_dim={self.input_dim}, got {self.rank}")

    def arrays(self) -> tuple[ArraySpec, ...]:
        """Householder vectors of Q, free part of U, ``1 + Q^T U`` (triangular), s, b."""
        d, r = self.input_dim, self.rank
        return (
            # Drawn, since at U = 0 no gradient reaches Q.
            ArraySpec("reflections", (d, r), fan_in=d),
            ArraySpec("left", (d, r)),
            ArraySpec("upper", (r, r)),
            ArraySpec("log_core", (r,)),
            ArraySpec("log_diagonal", (d,)),
            ArraySpec("shift", (d,)),
        )

    def summary(self) -> str:
        """One line that names the layer, its size and its rank."""
        return f"LowRankLinear(input_dim={self.input_dim}, rank={self.rank})"


@dataclass(frozen=True)
class PermutationSpec(FlowSpec, kind="permutation"):
    """``x[i] = z[order[i]]``."""

    order: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", checks.permutation("order", self.order))

    @property
    def input_dim(self) -> int:  # type: ignore[override]
        """Number of coordinates D."""
        return len(self.order)

    def arrays(self) -> tuple[ArraySpec, ...]:
        """None: the order is part of the spec."""
        return ()

    def summary(self) -> str:
        """One line that names the layer and its order."""
        return f"Permutation(input_dim={self.input_dim}, order={order_name(self.order)})"
