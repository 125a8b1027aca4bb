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
