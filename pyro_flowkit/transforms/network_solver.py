"""The sequential direction of a layer with a network of the user's own: passes and autograd."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from flowkit_core.numerics import round_trip_tolerance
from flowkit_core.reports import ConvergenceWarning
from pyro_flowkit.laws import Law, Params
from pyro_flowkit.transforms.found import Found
from pyro_flowkit.transforms.iteration import Iteration
from pyro_flowkit.transforms.triangular_solve import solve_triangular_system


@dataclass(frozen=True)
class NetworkSolver:
    """A layer as a function of its weights.

    Args:
        law: the law that the parallel map applies.
        params: all parameters of the law at a u of shape (n, D), given the others.
        others: every tensor that the map depends on besides u.
    """

    law: Law
    params: Callable[[Tensor, Sequence[Tensor]], Params]
    others: Sequence[Tensor]
    method: ClassVar[str] = "fixed_point"

    @torch.no_grad()
    def solve(self, v: Tensor) -> Found:
        """Jacobi iteration ``u <- p_u^-1(v)``, with the law's parameters taken at the last u.

        After j iterations the first j coordinates are exact, so D are; it stops earlier where the
        update is lost in rounding.

        References:
            Song et al., "Accelerating Feedforward Computation via Parallel Nonlinear Equation
            Solving", 2021, section 3.

        Warns:
            ConvergenceWarning: if the iteration ends while it still moves points.
        """
        u, iteration = v, Iteration(v.T)
        # One more than are exact: if the last still moves a point, something is wrong.
        for count in range(1, v.shape[1] + 2):
            new, log_slope = self.law.inverse(v, self.params(u, self.others))
            if iteration.settled(u.T, new.T):
                break
            if count > v.shape[1]:
                _warn_if_moving(u, new)
                break
            u = iteration.next_guess(new.T).T
        return Found(new, log_slope.sum(-1), (), count)

    def kept_at(self, u: Tensor) -> tuple[Tensor, ...]:
        """Nothing: `pull` evaluates the network again."""
        return ()

    def pull(
        self,
        u: Tensor,
        kept: Sequence[Tensor],
        g_u: Tensor,
        g_l: Tensor,
        wanted: Sequence[bool] = (),
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The reverse rule of `implicit`, by products with the Jacobian that autograd knows."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            leaves = [t.detach().requires_grad_() for t in self.others]
            v, log_slope = self.law.forward(u, self.params(u, leaves))
            weighted = (log_slope * g_l[:, None]).sum()
            (from_log_det,) = _gradient(weighted, [u])
            a = solve_triangular_system(
                lambda a: _gradient(v, [u], a)[0], log_slope.detach().exp(), g_u - from_log_det
            )
            if not any(wanted):
                return a, (None,) * len(wanted)
            return a, tuple(-g for g in _gradient((v * a).sum() + weighted, leaves))


def _gradient(
    output: Tensor, inputs: Sequence[Tensor], cotangent: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Vector-Jacobian product that keeps the graph; zeros where nothing depends on an input."""
    if not (inputs and output.requires_grad):
        return tuple(torch.zeros_like(t) for t in inputs)
    return torch.autograd.grad(output, inputs, cotangent, retain_graph=True, materialize_grads=True)


def _warn_if_moving(u: Tensor, new: Tensor) -> None:
    """Warn if the step from u to ``new``, (n, D), moves a finite point by more than rounding."""
    moved = (new - u).abs().amax(1)
    tolerance = round_trip_tolerance(torch.finfo(u.dtype).eps)
    count = int((moved > tolerance * (1 + u.abs().amax(1))).sum())
    if count:
        warnings.warn(
            f"fixed point: {count} of {u.shape[0]} points still move, by up to "
            f"{float(moved.nan_to_num().max()):.1e}, after {u.shape[1]} iterations, which are "
            "exact for an autoregressive network; is the conditioner one, in the order given?",
            ConvergenceWarning,
            stacklevel=2,
        )
