"""What a solver of the sequential direction hands over."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Found:
    """A solution of ``p(u) = v``.

    Args:
        u: (n, D).
        log_det: ``log |det du/dv|``, (n,).
        kept: what the solver's `pull` wants to see again.
        iterations: parallel passes of a fixed point; for a sweep the most that any block took.
    """

    u: Tensor
    log_det: Tensor
    kept: tuple[Tensor, ...]
    iterations: int


class Solver(Protocol):
    """Finds the sequential direction of one layer, and its gradients, without a graph."""

    @property
    def method(self) -> str:
        """Either "sweep" or "fixed_point"."""

    def solve(self, v: Tensor) -> Found:
        """Invert the parallel map at v, (n, D)."""

    def kept_at(self, u: Tensor) -> tuple[Tensor, ...]:
        """What `pull` wants to see, at a u, (n, D), that was not solved for."""

    def pull(
        self,
        u: Tensor,
        kept: Sequence[Tensor],
        g_u: Tensor,
        g_l: Tensor,
        wanted: Sequence[bool] = (),
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The reverse rule of `implicit`.

        Args:
            u: the solution, (n, D).
            kept: what `solve` found it useful to keep.
            g_u: cotangent of u, (n, D).
            g_l: cotangent of the log-determinant, (n,).
            wanted: which of the tensors that the map depends on need a gradient.

        Returns:
            The cotangent of v, (n, D), and a gradient (or None) for each entry of ``wanted``.
        """
